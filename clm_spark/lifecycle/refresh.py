"""Incremental refresh of lifecycle stages: a step from the morning before where there is one, else from all purchase days."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.features.customers import ONE_DAY, ids_of, moved_customers
from clm_spark.features.partials import digest
from clm_spark.features.refresh import OF_CUSTOMER_DAYS, valid_days
from clm_spark.features.versions import of_persons, seen_days
from clm_spark.lifecycle.rhythm import months_until, purchase_rhythms
from clm_spark.lifecycle.stages import next_stages, stages_from_history, transitions
from clm_spark.session import persisted
from clm_spark.settings import LifecycleSettings
from clm_spark.tables.catalog import (
    CUSTOMER_DAYS,
    CUSTOMER_FEATURES,
    LIFECYCLE_STAGES,
    PURCHASE_RHYTHMS,
    STAGE_TRANSITIONS,
)
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)

RULES = 2  # raised with every change of what a stage is: days made by other rules are made anew


def update_purchase_rhythms(lake: Lake) -> None:
    """Write the rhythm of each month of the log until as_of that is missing or out of date."""
    lake.create(PURCHASE_RHYTHMS)  # a shop of guests alone has no month to write
    partials = lake.read(CUSTOMER_DAYS)
    first = partials.agg(F.min("day_on")).head()
    if first is None or first[0] is None:
        return
    months = months_until(first[0], lake.settings.as_of)
    made_with = digest(RULES)
    due = sorted({*months} - valid_days(lake, months, PURCHASE_RHYTHMS, made_of=(CUSTOMER_DAYS,), made_with=made_with))
    if due:
        lake.replace(purchase_rhythms(partials, due), into=PURCHASE_RHYTHMS, made_with=made_with, as_of=due)


def update_stages(lake: Lake) -> None:
    """Write the stages of as_of, and how customers came there since the morning before, unless they are up to date."""
    as_of, asked = lake.settings.as_of, lake.settings.lifecycle
    made_with = digest(RULES, asked.model_dump_json())
    yesterday = as_of - ONE_DAY
    valid = valid_days(lake, [as_of, yesterday], LIFECYCLE_STAGES, made_of=OF_CUSTOMER_DAYS, made_with=made_with)
    if as_of in valid and as_of in valid_days(lake, [as_of], STAGE_TRANSITIONS, made_of=(), made_with=made_with):
        log.info("the lifecycle stages are up to date")
        return
    features = lake.read_as_of(CUSTOMER_FEATURES)
    made = _step(lake, features, asked) if yesterday in valid else nullcontext(_from_history(lake, features, asked))
    with made as rows:
        lake.replace(rows, into=LIFECYCLE_STAGES, is_key_proven=True, made_with=made_with, as_of=as_of)
    moved = transitions(lake.read_as_of(LIFECYCLE_STAGES), as_of=as_of)
    lake.replace(moved, into=STAGE_TRANSITIONS, is_key_proven=True, made_with=made_with, as_of=as_of)


@contextmanager
def _step(lake: Lake, features: DataFrame, asked: LifecycleSettings) -> Iterator[DataFrame]:
    """The stages of as_of from those of the morning before; to be read inside the block."""
    as_of = lake.settings.as_of
    before = lake.read_as_of(LIFECYCLE_STAGES, as_of - ONE_DAY)
    made, others = next_stages(before, features, lake.read(PURCHASE_RHYTHMS), as_of=as_of, settings=asked)
    with persisted(others.unionByName(_corrected(lake)).distinct()) as again:
        if again.isEmpty():
            yield made
            return
        rows = made.join(again, on="customer_id", how="left_anti")
        theirs = features.join(again, on="customer_id", how="left_semi")
        yield rows.unionByName(_from_history(lake, theirs, asked, of=again))


def _corrected(lake: Lake) -> DataFrame:
    """The customers of whom late events of yesterday tell something about earlier days, or who gained or lost an id."""
    as_of = lake.settings.as_of
    yesterday = F.lit(as_of - ONE_DAY)
    late = lake.read(CUSTOMER_DAYS).where((F.col("known_on") == yesterday) & (F.col("day_on") < yesterday))
    ids, persons = late.select("customer_id"), known_persons(lake, [as_of - ONE_DAY, as_of])
    if persons is None:
        return ids
    theirs = with_person(ids, persons.where(F.col("as_of") == F.lit(as_of)).drop("as_of"))
    return theirs.unionByName(ids).unionByName(moved_customers(persons, as_of))


def _from_history(
    lake: Lake, features: DataFrame, asked: LifecycleSettings, *, of: DataFrame | None = None
) -> DataFrame:
    """The stages of the customers in `features` by all their purchase days; `of` are these customers, where not all."""
    as_of = lake.settings.as_of
    partials, persons = lake.read(CUSTOMER_DAYS), known_persons(lake, [as_of])
    if of is not None:
        partials = partials.join(ids_of(of, persons), on="customer_id", how="left_semi")
    seen = of_persons(seen_days(partials, [as_of], CUSTOMER_DAYS), persons, CUSTOMER_DAYS)
    first_seen = features.select(
        "customer_id", F.date_sub(F.lit(as_of), F.col("tenure_days").cast("int")).alias("first_seen_on")
    )
    return stages_from_history(
        seen.where("num_orders > 0").select("customer_id", "day_on"),
        first_seen,
        lake.read(PURCHASE_RHYTHMS),
        as_of=as_of,
        settings=asked,
    )
