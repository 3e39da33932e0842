"""The jobs in order. The local runner, the Databricks job and any scheduler follow this list."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from clm_spark.errors import SettingsError
from clm_spark.job import Run
from clm_spark.models.catalogue import MODELS, TASKS
from clm_spark.models.task import Task
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table


@dataclass(frozen=True)
class Job:
    """One scheduled task: `jobs/<name>.py`, with the tables it reads and writes.

    What a job only reads to know what it did before is not among `reads`: nobody else's work stands in it.
    """

    name: str
    reads: tuple[Table, ...]
    writes: tuple[Table, ...]
    is_per_day: bool = False  # a day needs no other day of its own tables, so days may be made in any order

    def load(self) -> tuple[Run, str]:
        """The job's `run` and the first line of its documentation."""
        module = importlib.import_module(f"clm_spark.jobs.{self.name}")
        return module.run, (module.__doc__ or "").strip().splitlines()[0]


def model_jobs(tasks: Sequence[Task]) -> tuple[Job, ...]:
    """For each task a job that trains and one that scores, as its declaration and its models' say."""
    trained, scored = [], []
    for task in tasks:
        models = [model for model in MODELS if model.task == task.name]
        inputs = [table for model in models for table in model.inputs]
        trained.append(
            Job(task.train_job, reads=_each((*task.reads, *inputs)), writes=(t.MODEL_METRICS, *task.reports))
        )
        scored.append(Job(task.score_job, reads=_each((*task.asks, *inputs)), writes=task.writes))
    return (*trained, *scored)


def _each(tables: Sequence[Table]) -> tuple[Table, ...]:
    return tuple({table.title: table for table in tables}.values())


JOBS = (
    Job(
        "ingest_events",
        reads=(),
        writes=(t.INGESTED_FILES, t.RAW_EVENTS, t.REJECTED_EVENTS, t.EVENTS, t.INGESTED_BATCHES),
    ),
    Job(
        "stitch_identities",
        reads=(t.INGESTED_BATCHES, t.EVENTS, t.IDENTITY_LINKS, t.IDENTITIES),
        writes=(t.IDENTITY_LINKS, t.IDENTITIES, t.IDENTITY_CUTOFFS, t.WORKED_BATCHES),
    ),
    Job("flag_bots", reads=(t.INGESTED_BATCHES, t.EVENTS), writes=(t.BOT_DAYS, t.WORKED_BATCHES)),
    Job(
        "build_sessions",
        reads=(t.INGESTED_BATCHES, t.EVENTS, t.IDENTITIES, t.BOT_DAYS),
        writes=(t.SESSIONS, t.WORKED_BATCHES),
    ),
    Job(
        "build_features",
        reads=(t.INGESTED_BATCHES, t.EVENTS, t.IDENTITIES, t.BOT_DAYS, t.CUSTOMER_DAYS),
        writes=(t.CUSTOMER_DAYS, t.CUSTOMER_FEATURES, t.WORKED_BATCHES),
        is_per_day=True,
    ),
    Job(
        "build_item_features",
        reads=(t.INGESTED_BATCHES, t.EVENTS, t.IDENTITIES, t.BOT_DAYS, t.CUSTOMER_ITEM_DAYS, t.ITEM_DAYS),
        writes=(
            t.CUSTOMER_ITEM_DAYS,
            t.ITEM_DAYS,
            t.ITEM_FEATURES,
            t.PAIR_FEATURES,
            t.CUSTOMER_CATEGORIES,
            t.CUSTOMER_TASTES,
            t.WORKED_BATCHES,
        ),
        is_per_day=True,
    ),
    Job("check_drift", reads=(t.CUSTOMER_FEATURES, t.ITEM_FEATURES), writes=(t.FEATURE_DRIFT,)),
    Job(
        "build_interactions",
        reads=(t.EVENTS, t.IDENTITIES, t.BOT_DAYS, t.ITEM_VOCABULARY),
        writes=(t.ITEM_VOCABULARY, t.INTERACTIONS, t.ITEM_SEQUENCES),
    ),
    *model_jobs(TASKS),
    Job(
        "write_report",
        reads=t.TABLES,  # whatever of it there is
        writes=(),
    ),
)


KEYED_TABLES = tuple(table for table in t.TABLES if table.is_keyed)

# Run when someone asks for it, not every day.
ON_DEMAND = (
    Job(
        "build_panel",
        reads=(t.CUSTOMER_DAYS, t.IDENTITIES, t.CUSTOMER_FEATURES),
        writes=(t.CUSTOMER_FEATURES, t.CUSTOMER_LABELS),
    ),
    Job("stream_events", reads=(), writes=JOBS[0].writes),
    Job(
        "replay_rejected", reads=(t.REJECTED_EVENTS, t.EVENTS), writes=(t.EVENTS, t.INGESTED_BATCHES, t.REJECTED_EVENTS)
    ),
    Job("rotate_key", reads=KEYED_TABLES, writes=KEYED_TABLES),
    Job("migrate_tables", reads=t.TABLES, writes=t.TABLES),
)


def find_jobs(name: str) -> tuple[Job, ...]:
    """The job of that name, or the daily ones for `all`."""
    known = (*JOBS, *ON_DEMAND)
    found = JOBS if name == "all" else tuple(job for job in known if job.name == name)
    if not found:
        raise SettingsError(f"no job {name!r}: expected all or one of {', '.join(job.name for job in known)}")
    return found
