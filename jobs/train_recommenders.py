"""events, identities, bot_days, interactions, item_sequences, item_vocabulary, item_days, customer_item_days -> model_metrics: what customers will buy."""

from clm_spark.job import main
from clm_spark.models.flow import train
from clm_spark.models.recommendation import Recommendation
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Compare all models on the same days and put the winner in use; or find that this was done."""
    train(lake, Recommendation())


if __name__ == "__main__":
    raise SystemExit(main(run))
