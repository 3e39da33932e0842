"""customer_features, customer_days, identities -> model_metrics, score_deciles: learn who will stop buying."""

from functools import partial

from pyspark.sql import functions as F

from clm_spark.evaluation.gates import kept_beside, learned
from clm_spark.evaluation.trials import try_churn
from clm_spark.events.identity.persons import known_persons
from clm_spark.features.labels import answered_days, with_churn_label
from clm_spark.job import main
from clm_spark.models.churn import keep_active
from clm_spark.models.registry import Registry
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, MODEL_METRICS, SCORE_DECILES
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Learn from the days whose answers are in, tested on the last of them, or find the model that did."""
    registry, as_of, asked = Registry(settings), settings.as_of, settings.churn
    days = answered_days(settings)
    customers = keep_active(lake.read(CUSTOMER_FEATURES), active_days=asked.active_days).where(
        F.col("as_of").isin(days)
    )
    known_orders = lake.read_as_of(CUSTOMER_DAYS)
    persons = known_persons(lake, [as_of])
    labelled = with_churn_label(customers, known_orders, persons, horizon_days=asked.horizon_days).persist()
    rival = registry.champion("churn", days[0]) if days else None
    trial = partial(try_churn, labelled, settings=settings, in_use=rival)
    version = registry.version("churn", labelled, asked)
    model = learned(registry, "churn", version, trial, params=asked, inputs=lake.inputs)
    lake.replace(kept_beside(lake.spark, model, "metrics"), into=MODEL_METRICS, as_of=as_of, task="churn")
    lake.replace(kept_beside(lake.spark, model, "deciles"), into=SCORE_DECILES, as_of=as_of, score="churn")
    labelled.unpersist()


if __name__ == "__main__":
    raise SystemExit(main(run))
