"""identities, interactions, item_sequences, item_vocabulary, item_days, customer_item_days, facts on items and customers -> item_recommendations, recommendation_exclusions: every customer's lists."""

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
