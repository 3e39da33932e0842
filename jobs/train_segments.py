"""customer_features -> segments, segment_profiles, model_metrics: groups of customers, and each in words."""

from datetime import timedelta
from functools import partial

from pyspark.sql import functions as F

from clm_spark.evaluation.gates import kept_beside, learned
from clm_spark.evaluation.trials import try_segments
from clm_spark.job import main
from clm_spark.models.registry import Registry
from clm_spark.models.segments import assign_segments, load_segments, segment_profiles
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, MODEL_METRICS, SEGMENT_PROFILES, SEGMENTS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Learn segments, or find those learned from the same rows, and put every customer of as_of into one."""
    registry, as_of = Registry(settings), settings.as_of
    customers = lake.read_as_of(CUSTOMER_FEATURES).persist()
    rival = registry.champion("segments", as_of - timedelta(days=1))
    trial = partial(try_segments, customers, settings=settings, in_use=rival)
    version = registry.version("segments", customers, settings.segments)
    model = learned(registry, "segments", version, trial, params=settings.segments, inputs=lake.inputs)
    lake.replace(kept_beside(lake.spark, model, "metrics"), into=MODEL_METRICS, as_of=as_of, task="segments")
    in_use = registry.required_champion("segments", as_of)
    assigned = assign_segments(load_segments(in_use.path), customers)
    named = assigned.withColumn("model_version", F.lit(in_use.version))
    lake.replace(named.select(SEGMENTS.schema.names), into=SEGMENTS, as_of=as_of)
    profiles = segment_profiles(assigned).withColumn("model_version", F.lit(in_use.version))
    lake.replace(profiles, into=SEGMENT_PROFILES, as_of=as_of)
    customers.unpersist()


if __name__ == "__main__":
    raise SystemExit(main(run))
