"""identities, interactions, item_sequences, item_vocabulary, item_days, customer_item_days -> item_recommendations: every customer's list."""

from clm_spark.job import main
from clm_spark.models.flow import score
from clm_spark.models.recommendation import Recommendation
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the answers of the model in use on as_of."""
    score(lake, Recommendation())


if __name__ == "__main__":
    raise SystemExit(main(run))
