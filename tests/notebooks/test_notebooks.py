import re
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import jupytext
import pytest
from sqlfluff.core import FluffConfig, Linter

# Whichever test comes first waits for the small shop to be filled.
pytestmark = pytest.mark.timeout(1500)

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
QUERIES = sorted((NOTEBOOKS / "sql").glob("*.sql"))


def run_cells(name: str, **given) -> SimpleNamespace:
    """Execute every code cell in order, the last line of each shown as Jupyter would; what the notebook then holds."""
    cells = [cell.source for cell in jupytext.read(NOTEBOOKS / f"{name}.py").cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    held = dict(given)
    for number, source in enumerate(cells):
        exec(compile(source, f"{name}, cell {number}", "exec"), held)
    return SimpleNamespace(**held)


def test_one_click_is_followed_to_what_it_causes(small_shop):
    seen = run_cells("01_follow_one_click", lake=small_shop.lake)
    assert list(seen.origin.record) == [small_shop.truth.last_purchase], "the line of the raw log it came from"
    assert seen.event.event_id in set(seen.course.event_id)
    assert seen.course.kind.iloc[0] == "view"
    assert seen.visit.started_at == seen.course.occurred_at.iloc[0]
    assert seen.visit.num_events == len(seen.course) == seen.day.num_events
    assert seen.day.revenue_cents == seen.event.amount_cents > 0
    assert seen.features.purchase_recency_days == (seen.settings.as_of - seen.event.occurred_at.date()).days
    assert list(seen.scores.score) == ["churn", "lifetime_value", "value"]
    assert list(seen.recommended["rank"]) == [1, 2, 3, 4, 5]
    assert set(seen.recommended.category) <= {"kitchen.pan", "kitchen.pot"}


def test_the_leavers_are_those_long_silent(small_shop):
    seen = run_cells("02_who_is_leaving", lake=small_shop.lake)
    assert seen.figures.loc[(False, "gbt", False), "auc"] == 0.861
    assert list(seen.today.num_customers) == [3] * 10
    assert seen.by_segment.num_asked.sum() == 30
    assert seen.by_segment.num_risky.sum() == 6
    # The made-up probability is the silence over 80 days: that must come out as what sets leavers apart.
    assert next(iter(seen.apart)) in ("purchase_recency_days", "overdue_ratio")
    assert seen.apart["purchase_recency_days"] > 1
    assert seen.worth_a_call.revenue_at_risk.is_monotonic_decreasing
    assert len(seen.worth_a_call) == 6
    assert seen.by_stage.num_customers.sum() == 30
    assert seen.by_stage.num_risky.sum() == 6
    assert list(seen.why.columns) == ["reason", "num_customers"]


def test_what_customers_are_worth(small_shop):
    seen = run_cells("03_what_are_they_worth", lake=small_shop.lake)
    assert seen.figures.loc[(False, "bg_nbd"), "squared_skill"] == 0.42
    assert list(seen.today.num_customers) == [3] * 10
    assert seen.total_cents == sum(3 * (108_000 - 8_000 * decile) for decile in range(1, 11))
    assert round(seen.best_fifth_share, 4) == round(6 * 96_000 / seen.total_cents, 4)
    assert seen.by_stage.value_cents.sum() == seen.total_cents
    assert seen.at_stake.expected_loss.is_monotonic_decreasing
    assert len(seen.at_stake) == 10


EXPECTED = {
    "bought_with_an_item": lambda rows, _: (
        [(row.rank, row.num_customers, row.bought_too_percent, row.lift) for row in rows]
        == [(1, 6, 60.0, 6.0), (2, 5, 50.0, 5.0)]
        and len({row.neighbour_item_id for row in rows} | {row.item_id for row in rows}) == 3
    ),
    "due_for_repurchase": lambda rows, _: (
        rows and all(1 <= row.purchase_recency_days / row.usual_gap_days < 2.05 for row in rows)
    ),
    "first_page_of_a_category": lambda rows, _: (
        [row.rank for row in rows] == [1, 2, 3, 4, 5, 6]
        and len({(row.category, row.segment) for row in rows}) == 1
        and sorted(row.rank_of_all for row in rows) == [1, 2, 3, 4, 5, 6]
        and [row.expected_per_1000_customers for row in rows]
        == sorted((row.expected_per_1000_customers for row in rows), reverse=True)
        and rows[0].expected_per_1000_customers > 0
    ),
    "funnel_by_month": lambda rows, shop: (
        sum(row.num_visits for row in rows) == shop.truth.num_recent_visits
        and sum(row.num_buying for row in rows) == shop.truth.num_recent_buying
    ),
    "funnel_by_device": lambda rows, _: (
        [(row.channel, row.device, row.visits, row.view_percent) for row in rows] == [("unknown", "unknown", 3, 100.0)]
    ),
    "items_bought_again": lambda rows, shop: (
        0 < sum(row.num_lines_90d for row in rows) <= shop.truth.num_recent_buying
        and [row.repeat_percent for row in rows] == sorted((row.repeat_percent for row in rows), reverse=True)
    ),
    "loyal_at_risk_this_week": lambda rows, _: (
        rows
        and all(date(2024, 2, 24) <= row.at_risk_since <= date(2024, 3, 1) for row in rows)
        and all(row.reason.startswith("no purchase for ") and row.num_purchase_days >= 3 for row in rows)
    ),
    "models_against_baselines": lambda rows, _: (
        [(row.model, row.baseline, row.better_by) for row in rows]
        == [
            ("gbt", "recency_rule", 0.041),
            ("logistic_regression", "recency_rule", 0.028),
            ("gbt", "recency_rule", 0.092),
            ("logistic_regression", "recency_rule", 0.08),
            ("gbt", "recency_rule", 0.05),  # the lower Brier score
            ("transformer", "popularity", 0.07),
            ("als", "popularity", 0.03),
            ("transformer", "popularity", 0.09),
            ("als", "popularity", 0.04),
            ("bg_nbd", "recent_revenue", 0.05),
            ("bg_nbd", "recent_revenue", 0.07),
        ]
    ),
    "profile_of_a_customer": lambda rows, _: (
        len(rows) == 30
        and all(row.stage and row.segment_description and len(row.next_items) == 5 for row in rows)
        and [row.expected_value for row in rows] == sorted((row.expected_value for row in rows), reverse=True)
        and all(row.due_on > row.last_purchase_on for row in rows if row.due_on)
    ),
    "recommendations_of_a_customer": lambda rows, _: (
        [(row.rank, row.source) for row in rows]
        == [(rank, "transformer" if rank <= 4 else "popularity") for rank in range(1, 7)]
    ),
    "rejected_records": lambda rows, _: (
        [(row.reason, row.num_rejected) for row in rows] == [("unparsable", 1)]
        and re.search(r"events\.csv, record \d+$", rows[0].example)
    ),
    "retention_by_cohort": lambda rows, shop: (
        rows[0].retention_percent == 100 and sum(row.num_orders for row in rows) == shop.truth.num_recent_buying
    ),
    "revenue_by_month": lambda rows, shop: (
        [row.in_month for row in rows] == ["2023-12", "2024-01", "2024-02"]
        and sum(row.num_orders for row in rows) == shop.truth.num_recent_buying
    ),
    "segments": lambda rows, _: (
        sum(row.num_customers for row in rows) == 30
        and [(row.name, row.description) for row in rows]
        == [("regulars", "buys often"), ("occasional buyers", "buys now and then")]
    ),
    "segments_by_factor": lambda rows, _: (
        [(row.name, row.habits) for row in rows]
        == [(name, "more orders, not a longer silence") for name in ("regulars", "occasional buyers")]
        and sum(row.num_customers for row in rows) == 30
        and rows[0].mean_score >= 0 > rows[1].mean_score
    ),
    "top_leavers_by_value": lambda rows, _: (
        len(rows) == 3
        and all(row.churn_probability > 0.1 for row in rows)
        and [row.revenue_at_risk for row in rows] == sorted((row.revenue_at_risk for row in rows), reverse=True)
    ),
    "what_the_rules_removed": lambda rows, _: (
        [(row.surface, row.rule, row.num_shown_without) for row in rows]
        == [("email", "permission", 180), ("home", "stock", 9)]
    ),
}


def test_analysts_queries_answer(small_shop):
    assert [query.stem for query in QUERIES] == sorted(EXPECTED)
    lake = small_shop.lake
    wrong = {}
    for query in QUERIES:
        statement = query.read_text()
        for layer in ("bronze", "silver", "gold"):
            statement = statement.replace(f"{layer}.", f"{getattr(lake.settings.lakehouse, layer)}.")
        rows = lake.spark.sql(statement).collect()
        if not EXPECTED[query.stem](rows, small_shop):
            wrong[query.stem] = rows[:10]
    assert wrong == {}


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.stem)
def test_queries_are_well_set(query):
    linter = Linter(config=FluffConfig.from_path(str(query)))
    found = linter.lint_string(query.read_text(), fname=str(query)).get_violations()
    assert [str(violation) for violation in found] == []
