"""The jobs, and the graph that follows from what each reads and writes. Every launcher follows that graph."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from clm_spark.errors import SettingsError
from clm_spark.models.catalogue import MODELS, TASKS
from clm_spark.models.task import Task
from clm_spark.settings import Settings
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

Run = Callable[[Lake, Settings], None]
Graph = Mapping[str, frozenset[str]]  # the names of a job's direct predecessors, by its own


@dataclass(frozen=True)
class Job:
    """One scheduled task: `jobs/<name>.py`, with the tables and models that it reads and writes.

    Beside what is declared, every job writes gold.runs, and those that need events look up in silver.events and its
    ledger whether their day is inside the data.
    """

    name: str
    reads: tuple[Table, ...]
    writes: tuple[Table, ...]
    trains: tuple[str, ...] = ()  # models, as the registry names them
    uses: tuple[str, ...] = ()  # models of other jobs; one that it trains it may compare with what is in use
    is_per_day: bool = False  # a day needs no other day of its own tables, so days may be made in any order
    takes_raw: bool = False  # ingests raw records: only a run can tell whether there are new ones
    takes_files: bool = (
        False  # takes what the shop's files say by now: only a run can tell, and no past day can be made again
    )
    is_upkeep: bool = False  # rewrites the tables of all jobs: gold.runs takes no row before that is over
    changes_key: bool = False  # of the pseudonyms

    @property
    def needs_events(self) -> bool:
        """Whether its day must be inside the data."""
        return not (self.takes_raw or self.is_upkeep)

    @property
    def takes_from_outside(self) -> bool:
        """Whether only a run can tell if there is anything new for it."""
        return self.takes_raw or self.takes_files

    @property
    def inputs(self) -> frozenset[str]:
        """Titles of the tables and models that it reads."""
        checked = (t.EVENTS, t.INGESTED_BATCHES) if self.needs_events else ()
        return _titles((*self.reads, *checked), self.uses)

    @property
    def outputs(self) -> frozenset[str]:
        """Titles of the tables and models that it writes."""
        return _titles(self.writes, self.trains)

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
        reads = _each((*task.reads, *inputs, t.MODEL_METRICS))  # what an earlier run of the day compared
        trained.append(Job(task.train_job, reads, (t.MODEL_METRICS, *task.reports), trains=(task.name,)))
        scored.append(Job(task.score_job, _each((*task.asks, *task.looks_up, *inputs)), task.writes, uses=(task.name,)))
    return (*trained, *scored)


def _each(tables: Sequence[Table]) -> tuple[Table, ...]:
    return tuple({table.title: table for table in tables}.values())


def graph_of(jobs: Sequence[Job]) -> Graph:
    """Which jobs must have run before each: those that write what it reads.

    A table that a job both reads and writes is no dependency: it reads the rows that it wrote there itself. Two jobs
    that write the same table, and do not otherwise read each other's tables, have no dependency on each other.
    """
    others = {job.name: job.outputs | {t.RUNS.title} for job in jobs}
    return {
        job.name: frozenset(
            name for name, written in others.items() if name != job.name and written & (job.inputs - job.outputs)
        )
        for job in jobs
    }


def nearest_only(graph: Graph) -> Graph:
    """The same order without the predecessors that another predecessor has already."""
    behind: dict[str, frozenset[str]] = {}
    for name in TopologicalSorter(graph).static_order():
        behind[name] = frozenset(graph[name]).union(*(behind[before] for before in graph[name]))
    return {name: before - frozenset[str]().union(*(behind[each] for each in before)) for name, before in graph.items()}


INGESTED = (t.INGESTED_FILES, t.RAW_EVENTS, t.REJECTED_EVENTS, t.EVENTS, t.INGESTED_BATCHES)

JOBS = (
    Job(
        "ingest_events",
        reads=INGESTED,
        writes=INGESTED,
        takes_raw=True,
    ),
    Job(
        "stitch_identities",
        reads=(t.INGESTED_BATCHES, t.EVENTS, t.IDENTITY_LINKS, t.IDENTITIES, t.WORKED_BATCHES),
        writes=(t.IDENTITY_LINKS, t.IDENTITIES, t.IDENTITY_CUTOFFS, t.WORKED_BATCHES),
    ),
    Job("flag_bots", reads=(t.INGESTED_BATCHES, t.EVENTS, t.WORKED_BATCHES), writes=(t.BOT_DAYS, t.WORKED_BATCHES)),
    Job(
        "build_sessions",
        reads=(t.INGESTED_BATCHES, t.EVENTS, t.IDENTITIES, t.BOT_DAYS, t.SESSIONS, t.WORKED_BATCHES),
        writes=(t.SESSIONS, t.WORKED_BATCHES),
    ),
    Job(
        "load_shop_facts",
        reads=(t.ITEM_FACTS, t.CONTACT_PERMISSIONS),
        writes=(t.ITEM_FACTS, t.CONTACT_PERMISSIONS),
        takes_files=True,
    ),
    Job(
        "build_features",
        reads=(
            t.INGESTED_BATCHES,
            t.EVENTS,
            t.IDENTITIES,
            t.BOT_DAYS,
            t.CUSTOMER_DAYS,
            t.CUSTOMER_FEATURES,
            t.WORKED_BATCHES,
        ),
        writes=(t.CUSTOMER_DAYS, t.CUSTOMER_FEATURES, t.WORKED_BATCHES),
        is_per_day=True,
    ),
    Job(
        "build_item_features",
        reads=(
            t.INGESTED_BATCHES,
            t.EVENTS,
            t.IDENTITIES,
            t.BOT_DAYS,
            t.CUSTOMER_ITEM_DAYS,
            t.ITEM_DAYS,
            t.PAIR_FEATURES,
            t.WORKED_BATCHES,
        ),
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
    Job(
        "assign_stages",
        reads=(t.CUSTOMER_DAYS, t.IDENTITIES, t.CUSTOMER_FEATURES, t.PURCHASE_RHYTHMS, t.LIFECYCLE_STAGES),
        writes=(t.PURCHASE_RHYTHMS, t.LIFECYCLE_STAGES, t.STAGE_TRANSITIONS),
        is_per_day=True,
    ),
    Job("assign_rfm", reads=(t.CUSTOMER_FEATURES,), writes=(t.RFM_SCORES,), is_per_day=True),
    Job("score_habits", reads=(t.CUSTOMER_FEATURES,), writes=(t.CUSTOMER_SCORES,), is_per_day=True),
    Job("build_cohorts", reads=(t.CUSTOMER_DAYS, t.IDENTITIES, t.COHORTS), writes=(t.COHORTS,), is_per_day=True),
    Job("build_funnel", reads=(t.EVENTS, t.IDENTITIES, t.BOT_DAYS), writes=(t.FUNNEL,), is_per_day=True),
    Job("check_drift", reads=(t.CUSTOMER_FEATURES, t.ITEM_FEATURES), writes=(t.FEATURE_DRIFT,)),
    Job(
        "build_interactions",
        reads=(
            t.EVENTS,
            t.IDENTITIES,
            t.BOT_DAYS,
            t.CUSTOMER_ITEM_DAYS,
            t.ITEM_DAYS,
            t.ITEM_INDICES,
            t.ITEM_VOCABULARY,
            t.INTERACTIONS,
            t.ITEM_SEQUENCES,
        ),
        writes=(t.ITEM_INDICES, t.ITEM_VOCABULARY, t.INTERACTIONS, t.ITEM_SEQUENCES),
    ),
    Job(
        "build_neighbours",
        reads=(t.CUSTOMER_ITEM_DAYS, t.IDENTITIES, t.ITEM_VOCABULARY, t.ITEM_FACTS),
        writes=(t.ITEM_NEIGHBOURS,),
        is_per_day=True,
    ),
    Job(
        "build_factors",
        reads=(t.CUSTOMER_FEATURES, t.FACTOR_LOADINGS),
        writes=(t.FACTOR_LOADINGS, t.CUSTOMER_FACTORS),
    ),
    *model_jobs(TASKS),
    Job(
        "monitor_models",
        reads=(t.CUSTOMER_SCORES, t.CUSTOMER_DAYS, t.IDENTITIES, t.FEATURE_DRIFT, t.MODEL_METRICS),
        writes=(t.MODEL_MONITORING,),
        uses=tuple(task.name for task in TASKS if t.CUSTOMER_SCORES in task.writes),
    ),
    Job(
        "rank_categories",
        reads=(t.CUSTOMER_FEATURES, t.SEGMENTS, t.CUSTOMER_ITEM_DAYS, t.IDENTITIES, t.ITEM_VOCABULARY, t.ITEM_FACTS),
        writes=(t.CATEGORY_RANKINGS,),
        is_per_day=True,
    ),
    Job(
        "build_profiles",
        reads=(
            t.CUSTOMER_FEATURES,
            t.LIFECYCLE_STAGES,
            t.RFM_SCORES,
            t.SEGMENTS,
            t.SEGMENT_PROFILES,
            t.CUSTOMER_TASTES,
            t.CUSTOMER_SCORES,
            t.ITEM_RECOMMENDATIONS,
        ),
        writes=(t.CUSTOMER_PROFILES,),
        is_per_day=True,
    ),
    Job(
        "write_report",
        reads=(
            t.INGESTED_BATCHES,
            t.REJECTED_EVENTS,
            t.EVENTS,
            t.IDENTITIES,
            t.SESSIONS,
            t.CUSTOMER_DAYS,
            t.CUSTOMER_FEATURES,
            t.ITEM_VOCABULARY,
            t.ITEM_SEQUENCES,
            t.LIFECYCLE_STAGES,
            t.STAGE_TRANSITIONS,
            t.COHORTS,
            t.FUNNEL,
            t.SEGMENT_PROFILES,
            t.SEGMENT_CHOICES,
            t.CUSTOMER_SCORES,
            t.ITEM_RECOMMENDATIONS,
            t.RECOMMENDATION_EXCLUSIONS,
            t.MODEL_METRICS,
            t.SCORE_DECILES,
            t.SLICE_METRICS,
            t.MODEL_MONITORING,
            t.RUNS,
        ),
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
    Job("stream_events", reads=INGESTED, writes=INGESTED, takes_raw=True),
    Job(
        "replay_rejected", reads=(t.REJECTED_EVENTS, t.EVENTS), writes=(t.EVENTS, t.INGESTED_BATCHES, t.REJECTED_EVENTS)
    ),
    Job("rotate_key", reads=KEYED_TABLES, writes=KEYED_TABLES, is_upkeep=True, changes_key=True),
    Job("migrate_tables", reads=t.TABLES, writes=t.TABLES, is_upkeep=True),
)


def _titles(tables: Sequence[Table], models: Sequence[str]) -> frozenset[str]:
    return frozenset((*(table.title for table in tables), *(f"models.{name}" for name in models)))


def find_jobs(name: str) -> tuple[Job, ...]:
    """The job of that name, or the daily ones for `all`."""
    known = (*JOBS, *ON_DEMAND)
    found = JOBS if name == "all" else tuple(job for job in known if job.name == name)
    if not found:
        raise SettingsError(f"no job {name!r}: expected all or one of {', '.join(job.name for job in known)}")
    return found
