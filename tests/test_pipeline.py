"""The graph follows from what jobs declare, and the order of the list is one that it allows."""

from graphlib import TopologicalSorter

from clm_spark.pipeline import JOBS, Graph, Job, graph_of, nearest_only
from clm_spark.tables.catalog import BOT_DAYS, EVENTS, MODEL_METRICS, RUNS, SEGMENTS, WORKED_BATCHES


def everything_before(graph: Graph, name: str) -> set[str]:
    return set(graph[name]).union(*(everything_before(graph, before) for before in graph[name]))


def test_a_job_follows_those_that_write_what_it_reads():
    shop = [
        Job("ingest_events", reads=(), writes=(EVENTS, WORKED_BATCHES), takes_raw=True),
        Job("flag", reads=(WORKED_BATCHES,), writes=(BOT_DAYS, WORKED_BATCHES)),
        Job("train", reads=(BOT_DAYS,), writes=(MODEL_METRICS,), trains=("churn",)),
        Job("train_other", reads=(), writes=(MODEL_METRICS, SEGMENTS), trains=("segments",), uses=("segments",)),
        Job("score", reads=(), writes=(), uses=("churn",)),
        Job("report", reads=(RUNS,), writes=()),
    ]
    graph = graph_of(shop)
    assert graph["ingest_events"] == set()
    assert graph["flag"] == {"ingest_events"}, "whether its day is inside the data; the ledger of its own is no reason"
    assert graph["train"] == {"ingest_events", "flag"}
    assert graph["train_other"] == {"ingest_events"}, "two that write figures have no order, its own model is no reason"
    assert graph["score"] == {"ingest_events", "train"}, "a model is read as a table is"
    assert graph["report"] == {job.name for job in shop[:-1]}, "every job writes gold.runs"
    assert nearest_only(graph) == {
        "ingest_events": set(),
        "flag": {"ingest_events"},
        "train": {"flag"},
        "train_other": {"ingest_events"},
        "score": {"train"},
        "report": {"train_other", "score"},
    }


def test_the_days_jobs_are_listed_in_an_order_that_their_graph_allows():
    graph, names = graph_of(JOBS), [job.name for job in JOBS]
    order = list(TopologicalSorter(graph).static_order())  # raises where there is a circle
    assert sorted(order) == sorted(names)
    for place, name in enumerate(names):
        assert graph[name] <= set(names[:place]), name
    nearest = nearest_only(graph)
    for name in names:
        assert everything_before(nearest, name) == everything_before(graph, name)
    # What models are trained on does not bind them to one another.
    families = {"train_segments", "train_churn", "train_purchase", "train_value", "train_recommenders"}
    assert not any(graph[name] & families for name in families)
