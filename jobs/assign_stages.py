"""customer_days, customer_features -> purchase_rhythms, lifecycle_stages, stage_transitions: where customers stand, and why."""

from clm_spark.job import main
from clm_spark.lifecycle.refresh import update_purchase_rhythms, update_stages
from clm_spark.models.made_days import check_made
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the stage of every customer on as_of, by a step from the day before where that is there."""
    check_made(lake, CUSTOMER_FEATURES)
    update_purchase_rhythms(lake)
    update_stages(lake)


if __name__ == "__main__":
    raise SystemExit(main(run))
