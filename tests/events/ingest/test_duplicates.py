from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from source_fields import typed

from clm_spark.events.ingest import duplicates, validation
from clm_spark.events.ingest.duplicates import NewEvents
from clm_spark.events.ingest.validation import summarized, validation_results
from clm_spark.tables.catalog import EVENTS


@contextmanager
def new_events(events: DataFrame, earlier: DataFrame) -> Iterator[NewEvents]:
    results = validation_results(events).cache()
    with duplicates.new_events(events, results, earlier, span=summarized(results).span) as new:
        yield new


def test_duplicates_become_one_event_known_since_the_first(spark):
    known = {"known_at": "2024-02-29T13:00:00Z"}
    cases = [
        ("known late", {"known_at": "2024-02-29T15:00:00Z"}),
        ("known first", known),
        ("with another brand", {**known, "brand": "b"}),
        ("a microsecond on", {**known, "occurred_at": "2024-02-29T12:00:00.000001Z"}),
        ("another basket", {**known, "order_id": "o2"}),
        ("another attribute", {**known, "attributes": {"size": "L"}}),
        ("seen in an earlier batch", {**known, "item_id": "old"}),
        ("rejected", {"kind": "hover"}),
    ]
    events = typed(spark, cases).withColumn("batch_id", F.lit("b1")).cache()
    earlier = events.where(F.col("item_id") == "old").select("event_id", "occurred_at")
    # By a wrong clock that was set right: the sending before had been on the way for so much longer.
    earlier = earlier.withColumn("occurred_at", F.col("occurred_at") - F.expr("INTERVAL 20 MINUTES"))
    with new_events(events, earlier) as new:
        kept = new.rows.cache()
        assert (new.num_usable, new.num_new, kept.count()) == (7, 4, 4)
        assert sum(new.duplicates.values()) == 3
    assert kept.columns == EVENTS.schema.names
    came = kept.join(events.select("event_id", "record", "known_at"), on=["event_id", "known_at"], how="inner")
    records = sorted(row.record for row in came.where("record != 'with another brand'").collect())
    assert records == ["a microsecond on", "another attribute", "another basket", "known first"]


def test_of_records_with_one_id_the_first_or_the_last_counts(spark):
    def record(own_id: str, quantity: str, revision: str, clock: str) -> tuple[str, dict]:
        of_id = {"event_id": own_id, "quantity": quantity, "attributes": {"revision": revision}}
        return f"{own_id} {quantity} {revision}", {**of_id, "occurred_at": f"2024-02-29T{clock}Z"}

    cases = [
        record("changed", "1", "9", "12:00:00"),
        record("changed", "2", "10", "12:30:00"),
        record("same", "1", "1", "12:00:00"),
        record("same", "1", "2", "12:30:00"),
        record("in silver", "5", "2", "12:00:00"),
        record("in silver, the same", "1", "2", "12:00:00"),
    ]
    log = typed(spark, cases).withColumn("batch_id", F.lit("b1")).cache()
    earlier = (
        log.where("record LIKE 'in silver%'")
        .withColumn("quantity", F.lit(1).cast("bigint"))
        .select(EVENTS.schema.names)
    )
    results = validation_results(log)
    for last_by, kept in ((None, 1), ("revision", 2)):
        how = {"has_own_ids": True, "last_by": last_by, "span": summarized(results).span}
        with duplicates.new_events(log, results, earlier, **how) as new:
            assert sorted(row.quantity for row in new.rows.collect()) == sorted([kept, 1])
            assert (new.num_new, sum(new.duplicates.values())) == (2, 4)
            # The one of the batch and the one in silver; the last record that is concerned.
            assert new.changed == duplicates.Changed(num_events=2, num_known=1, file="f", position=4)


def test_events_of_one_hash_are_still_two(spark, monkeypatch):
    for module in (validation, duplicates):
        monkeypatch.setattr(module, "event_key", lambda: F.lit(7).cast("bigint"))
    cases = [("one", {}), ("one again", {}), ("another", {"item_id": "i2"}), ("known", {"item_id": "i3"})]
    events = typed(spark, cases).withColumn("batch_id", F.lit("b1")).cache()
    earlier = events.where(F.col("item_id") == "i3").select("event_id", "occurred_at")
    with new_events(events, earlier) as new:
        assert sorted(row.item_id for row in new.rows.collect()) == ["i1", "i2"]
        assert (new.num_usable, new.num_new) == (4, 2)


def test_a_batch_without_duplicates_is_not_shuffled(spark):
    events = typed(spark, [("one", {}), ("two", {"item_id": "i2"})]).withColumn("batch_id", F.lit("b1")).cache()
    with new_events(events, events.limit(0)) as new:
        plan = new.rows._jdf.queryExecution().executedPlan().toString()
        assert "Exchange" not in plan
        assert new.num_new == 2
