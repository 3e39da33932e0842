"""customer_features, customer_days, identities (item_sequences, item_vocabulary, events: for transformer_head) -> customer_scores: the chance that each active customer buys soon."""

from clm_spark.job import main
from clm_spark.models.flow import score
from clm_spark.models.purchase import Purchase
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the answers of the model in use on as_of."""
    score(lake, Purchase())


if __name__ == "__main__":
    raise SystemExit(main(run))
