"""Shops with next to nothing in their logs, through every job: each ends well, and says what could not be learned."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clm_spark.job import JobDone
from clm_spark.pipeline import JOBS
from clm_spark.runner import exit_code, run_jobs
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
HEADER = "at,who,did,item,pieces,price,basket"
MAPPING = f"""
format: csv
header: {HEADER}
fields: {{occurred_at: at, customer_id: who, kind: did, item_id: item, quantity: pieces, price: price, order_id: basket}}
"""
SECTIONS = {
    "als": {"rank": 4, "iterations": 2, "blocks": 2},
    "transformer": {
        "launcher": "one_process", "ranks": 1, "layers": 1, "heads": 2, "width": 16, "max_length": 32,
        "epochs": 1, "negatives": 8, "steps": 8, "horizon": 8, "batch_size": 8,
    },
    "features": {"panel_size": 4},
    "evaluation": {"replicates": 50},
}  # fmt: skip
SEGMENTS, CHURN, VALUE, RECOMMENDATION = (
    {"train_segments", "assign_segments"},
    {"train_churn", "score_customers", "train_purchase", "score_purchase"},
    {"train_value", "score_value"},
    {"train_recommenders", "recommend_items"},
)


def visit(who: str, days_ago: int, item: str, *, buys: bool = True) -> Iterator[str]:
    """A look at an item and, five minutes later, its purchase for ten."""
    at = AS_OF - timedelta(days=days_ago) + timedelta(hours=10)
    yield f"{at:%Y-%m-%d %H:%M:%S},{who},view,{item},,,"
    if buys:
        yield f"{at + timedelta(minutes=5):%Y-%m-%d %H:%M:%S},{who},purchase,{item},1,10.00,{who}{days_ago}"


def one_customer() -> Iterator[str]:
    """Five orders: 15, 15, 13 and 12 days apart, the last one yesterday."""
    for days_ago, item in ((56, "pan"), (41, "pot"), (26, "pan"), (13, "lid"), (1, "pan")):
        yield from visit("solo", days_ago, item)


def two_customers() -> Iterator[str]:
    """The same, of two people."""
    yield from one_customer()
    yield from (line.replace("solo", "second") for line in one_customer())


def one_item() -> Iterator[str]:
    """A dozen people, who all bought the only item twice."""
    for number in range(12):
        for days_ago in (1 + number, 30 + 2 * number):
            yield from visit(f"buyer{number}", days_ago, "pan")


def one_day() -> Iterator[str]:
    """A dozen people who all came yesterday, for the first time."""
    for number in range(12):
        yield from visit(f"newcomer{number}", 1, ("pan", "pot", "lid")[number % 3])


def only_looks() -> Iterator[str]:
    """A dozen people, first seen on different days, who never buy."""
    for number in range(12):
        for days_ago in (1, 2 + 5 * number):
            yield from visit(f"looker{number}", days_ago, "pan", buys=False)


def twenty_alike() -> Iterator[str]:
    """Twenty customers who did the very same."""
    for number in range(20):
        for days_ago, item in ((95, "pan"), (67, "pot"), (39, "lid"), (11, "pan"), (1, "pot")):
            yield from visit(f"twin{number}", days_ago, item)


@pytest.fixture
def run_all(new_lake: Callable[..., Lake], tmp_path: Path) -> Callable[[Iterator[str]], tuple[Lake, Sequence[JobDone]]]:
    """Every job over a log."""

    def run(log: Iterator[str]) -> tuple[Lake, Sequence[JobDone]]:
        (tmp_path / "log.csv").write_text("\n".join([HEADER, *log]) + "\n")
        (tmp_path / "shop.yml").write_text(MAPPING)
        source = {"source": "mapping", "mapping": f"{tmp_path}/shop.yml", "path": f"{tmp_path}/log.csv"}
        lake = new_lake(ingest=source, **SECTIONS)
        return lake, run_jobs(lake.spark, lake.settings, JOBS, parallel=1, say=lambda *_: None)

    return run


@pytest.mark.soak
@pytest.mark.timeout(2400)
@pytest.mark.parametrize(
    ("log", "not_learned"),
    [
        pytest.param(one_customer, SEGMENTS | CHURN | VALUE | RECOMMENDATION, id="one customer"),
        pytest.param(two_customers, SEGMENTS | CHURN | VALUE | RECOMMENDATION, id="two customers"),
        pytest.param(one_item, CHURN | VALUE | {"train_recommenders"}, id="one item"),
        pytest.param(one_day, SEGMENTS | CHURN | VALUE | RECOMMENDATION, id="one day"),
        pytest.param(only_looks, CHURN | VALUE | RECOMMENDATION, id="only looks"),
        pytest.param(twenty_alike, SEGMENTS | CHURN | VALUE | {"train_recommenders"}, id="twenty alike"),
    ],
)
def test_a_thin_shop_runs_and_names_what_it_cannot_learn(log, not_learned, run_all, tmp_path):
    lake, done = run_all(log())
    assert [each.job for each in done] == [job.name for job in JOBS]
    assert {each.job: each.error for each in done if each.status == "failed"} == {}
    assert {each.job: each.missing for each in done if each.missing} == {}
    assert {each.job for each in done if each.too_little} == not_learned
    assert exit_code(done) == 0
    page = (tmp_path / "report.html").read_text()
    # An entrant that could not be trained is named by the run; the page names tasks that have no new model at all.
    without_model = not_learned if not_learned >= RECOMMENDATION else not_learned - RECOMMENDATION
    for task in ("segments", "churn", "value", "recommenders"):
        assert (f"train_{task}: " in page) == (f"train_{task}" in without_model)
    if lake.exists(t.FEATURE_DRIFT):
        assert lake.read(t.FEATURE_DRIFT).where("has_drifted").isEmpty(), "of few rows nothing can be told"

    today = lake.read_as_of(t.CUSTOMER_FEATURES).select(
        "num_orders", "net_revenue_cents", "purchase_recency_days", "mean_gap_days"
    )
    figures = {tuple(row) for row in today.collect()}
    assert (
        figures
        == {
            one_customer: {(5, 5000, 1, 13.75)},
            two_customers: {(5, 5000, 1, 13.75)},
            one_item: {(2, 2000, 1 + number, 29.0 + number) for number in range(12)},
            one_day: {(1, 1000, 1, None)},
            only_looks: {(0, 0, None, None)},
            twenty_alike: {(5, 5000, 1, 23.5)},
        }[log]
    )
    if log is only_looks:
        words = [row.description for row in lake.read(t.SEGMENT_PROFILES).collect()]
        assert len(set(words)) == len(words) > 2
    if log is twenty_alike:
        lists = lake.read(t.ITEM_RECOMMENDATIONS).groupBy("customer_id").count()
        assert [row["count"] for row in lists.collect()] == [3] * 20
