"""customer_features -> customer_scores: what each buyer will bring, orders to come, lifetime value, chance of being there."""

from clm_spark.job import main
from clm_spark.models.flow import score
from clm_spark.models.value.task import Value
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the answers of the model in use on as_of; without one, the base rate."""
    score(lake, Value())


if __name__ == "__main__":
    raise SystemExit(main(run))
