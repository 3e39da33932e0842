"""customer_features -> segments, segment_profiles, segment_choices: every customer's group, and each group in words."""

from clm_spark.job import main
from clm_spark.models.flow import score
from clm_spark.models.segments.task import Segmentation
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the answers of the model in use on as_of."""
    score(lake, Segmentation())


if __name__ == "__main__":
    raise SystemExit(main(run))
