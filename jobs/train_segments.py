"""customer_features, feature_drift -> model_metrics: groups of customers, fitted on a schedule or when features drift."""

from clm_spark.job import main
from clm_spark.models.flow import train
from clm_spark.models.segments.task import Segmentation
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Compare all models on the same days and put the winner in use; or find that this was done."""
    train(lake, Segmentation())


if __name__ == "__main__":
    raise SystemExit(main(run))
