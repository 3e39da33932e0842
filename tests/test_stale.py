"""The days that a late batch concerns are found, with the jobs that follow from it, and no others."""

from datetime import date

import pytest
from shop_events import at, events, signed_batches
from small_shop import write_log

from clm_spark import cli
from clm_spark.job import run_job
from clm_spark.jobs import build_features, build_sessions, ingest_events
from clm_spark.stale import stale_days
from clm_spark.tables.catalog import CUSTOMER_FEATURES, EVENTS, INGESTED_BATCHES, RUNS, SESSIONS
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


def batch(name: str, version: int, known: str, num_kept: int = 1) -> dict[str, object]:
    return {"batch_id": name, "events_version": version, "first_known_at": at(known), "num_kept": num_kept}


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
    runs = [run("build_sessions", day, version) for day, version in seen.items()]
    runs += [run("build_features", day, version) for day, version in (seen | {WEDNESDAY: 1}).items()]
    runs += [
        run("build_interactions", TUESDAY, 5),  # ran again after the late batch, and before the one on time
        run("train_segments", TUESDAY, None),  # reads what build_features writes
        run("score_customers", WEDNESDAY, None),
        run("ingest_events", TUESDAY, None),
        run("load_shop_facts", TUESDAY, 1),  # the files of that morning are gone
        run("build_features", date(2024, 3, 5), 1),  # after the asked day
        # Runs that wrote no table: one that failed has not brought its day up to date, one that found nothing to do has.
        run("build_features", TUESDAY, 7) | {"table_name": None, "status": "failed"},
        run("build_features", WEDNESDAY, 5) | {"table_name": None, "status": "nothing_new"},
    ]
    whole = {"version": 1, "num_rows": 1, "seconds": 1.0, "settings_hash": "x", "code_version": "1"}
    write_rows(lake, RUNS, runs, **whole)

    found = {day.as_of: [job.name for job in day.jobs] for day in stale_days(lake)}
    assert found == {TUESDAY: ["build_features", "train_segments"]}, "visits saw all, the other days too"

    write_rows(lake, RUNS, [row for row in runs if row["as_of"] != THURSDAY], **whole)
    found = {day.as_of: [job.name for job in day.jobs] for day in stale_days(lake)}
    assert found == {TUESDAY: ["build_features", "train_segments"], WEDNESDAY: ["build_sessions"]}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_late_file_is_worked_into_the_days_that_it_concerns(new_lake, tmp_path):
    write_log(tmp_path / "whole.csv")
    header, *lines = (tmp_path / "whole.csv").read_text().splitlines()
    is_late = [line[:10] in ("2024-02-12", "2024-02-13") for line in lines]
    assert 0 < sum(is_late) < len(lines)

    def deliver(file, *, late: bool) -> None:
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            "\n".join([header, *(line for line, came_late in zip(lines, is_late, strict=True) if came_late is late)])
        )

    def run(job, day: date, lake: Lake) -> None:
        settings = lake.settings.model_copy(update={"as_of": day})
        run_job(lake.spark, job.__name__.split(".")[-1], job.run, settings, reads_events=job is not ingest_events)

    def features(lake: Lake, day: date) -> list[tuple[object, ...]]:
        return sorted(map(tuple, lake.read_as_of(CUSTOMER_FEATURES, day).collect()), key=str)

    before, after = date(2024, 2, 10), date(2024, 2, 20)
    deliver(tmp_path / "landing" / "early.csv", late=False)
    asked = {"source": "rees46", "path": str(tmp_path / "landing"), "known_at": "occurred"}
    lake = new_lake(as_of=str(after), ingest=asked, features={"panel_size": 1})
    for day in (before, after):
        for job in (ingest_events, build_sessions, build_features):
            run(job, day, lake)
    was = {day: features(lake, day) for day in (before, after)}
    deliver(tmp_path / "landing" / "late.csv", late=True)
    run(ingest_events, after, lake)
    # Visits speak for no day: the last run that had any to write stands for them.
    found = {day.as_of: [job.name for job in day.jobs] for day in stale_days(lake)}
    assert found == {before: ["build_sessions"], after: ["build_features"]}
    cli._run_stale(lake.spark, lake.settings, parallel=1)
    assert stale_days(lake) == []

    # Another lakehouse that got both files at once.
    whole = new_lake(as_of=str(after), ingest=asked, features={"panel_size": 1})
    for job in (ingest_events, build_sessions, build_features):
        run(job, after, whole)
    assert features(lake, after) == features(whole, after) != was[after]
    assert features(lake, before) == was[before]
    visits = [sorted(map(tuple, of.read(SESSIONS).collect())) for of in (lake, whole)]
    assert visits[0] == visits[1]
