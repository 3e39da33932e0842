"""customer_features -> customer_scores: the chance that each active customer stops buying."""

from pyspark.sql import functions as F

from clm_spark.job import main
from clm_spark.models.churn import keep_active, load_churn, score_churn, with_probability_decile
from clm_spark.models.registry import Registry
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, CUSTOMER_SCORES
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Score the customers of as_of by the model in use that day."""
    model = Registry(settings).required_champion("churn", settings.as_of)
    customers = keep_active(lake.read_as_of(CUSTOMER_FEATURES), active_days=settings.churn.active_days)
    scored = with_probability_decile(score_churn(load_churn(model.path), customers))
    named = scored.withColumns({"score": F.lit("churn"), "model_version": F.lit(model.version)})
    lake.replace(named, into=CUSTOMER_SCORES, as_of=settings.as_of, score="churn")


if __name__ == "__main__":
    raise SystemExit(main(run))
