"""customer_features, customer_days, identities (item_sequences, item_vocabulary, events: for transformer_head) -> model_metrics, score_deciles, slice_metrics: who will buy soon."""

from clm_spark.job import main
from clm_spark.models.flow import train
from clm_spark.models.purchase import Purchase
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Compare all models on the same days and put the winner in use; or find that this was done."""
    train(lake, Purchase())


if __name__ == "__main__":
    raise SystemExit(main(run))
