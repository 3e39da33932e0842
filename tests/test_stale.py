"""The days that a late batch concerns are found, with the jobs that follow from it, and no others."""

from datetime import date

from shop_events import at, events, signed_batches

from clm_spark.stale import stale_days
from clm_spark.tables.catalog import EVENTS, INGESTED_BATCHES, RUNS
from clm_spark.tables.lake import Lake

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2024, 2, day) for day in (26, 27, 28, 29))


def write_rows(lake: Lake, table, cases: list[dict[str, object]], **common: object) -> None:
    """Rows of a table of which a case names what matters."""
    rows = [{**common, **case} for case in cases]
    schema = table.schema
    filled = [tuple(row.get(name) for name in schema.names) for row in rows]
    lake.replace(lake.spark.createDataFrame(filled, schema), into=table)


def run(job: str, as_of: date, seen: int | None) -> dict[str, object]:
    inputs = {} if seen is None else {EVENTS.title: seen}
    return {"job": job, "as_of": as_of, "table_name": f"of.{job}", "inputs": inputs}


def batch(name: str, version: int, learned: str, num_kept: int = 1) -> dict[str, object]:
    return {"batch_id": name, "events_version": version, "first_learned_at": at(learned), "num_kept": num_kept}


def test_a_day_is_stale_when_a_later_batch_should_have_been_in_it(new_lake):
    lake = new_lake(as_of=str(THURSDAY))
    assert stale_days(lake) == []
    lake.replace(events(lake.spark), into=EVENTS)
    batches = [
        batch("first", 1, "2024-02-20"),
        batch("late, of monday", 5, "2024-02-26"),  # concerns as_ofs from tuesday on
        batch("later, but nothing new", 7, "2024-02-01", num_kept=0),
        batch("on time", 6, "2024-02-28"),
    ]
    lake.replace(signed_batches(lake.spark, *batches), into=INGESTED_BATCHES)
    seen = {MONDAY: 1, TUESDAY: 1, WEDNESDAY: 5, THURSDAY: 6}
    runs = [run(job, day, version) for day, version in seen.items() for job in ("build_sessions", "build_features")]
    runs += [
        run("build_interactions", TUESDAY, 5),  # ran again after the late batch, and before the one on time
        run("train_segments", TUESDAY, None),  # reads what build_features writes
        run("score_customers", WEDNESDAY, None),
        run("ingest_events", TUESDAY, None),
        run("build_features", date(2024, 3, 5), 1),  # after the asked day
    ]
    whole = {"version": 1, "num_rows": 1, "seconds": 1.0, "settings_hash": "x", "code_version": "1"}
    write_rows(lake, RUNS, runs, **whole)

    found = {day.as_of: [job.name for job in day.jobs] for day in stale_days(lake)}
    assert found == {TUESDAY: ["build_features", "train_segments"]}, "visits saw all, the other days too"

    write_rows(lake, RUNS, [row for row in runs if row["as_of"] != THURSDAY], **whole)
    found = {day.as_of: [job.name for job in day.jobs] for day in stale_days(lake)}
    assert found == {TUESDAY: ["build_features", "train_segments"], WEDNESDAY: ["build_sessions"]}
