"""A panel of past mornings: each as that morning knew it, labels as the run's own day knows them, and no leak between."""

from datetime import timedelta

import pytest
from pyspark.sql import functions as F
from shop_events import at, events, on, sign

from clm_spark.errors import ContractError, SettingsError
from clm_spark.features.panel import asked_days
from clm_spark.jobs import build_features, build_panel
from clm_spark.tables.catalog import CUSTOMER_FEATURES, CUSTOMER_LABELS

PANEL = {"first_on": "2024-02-01", "last_on": "2024-02-16", "every_days": 7, "gap_days": 2, "horizon_days": 5}
MORNINGS = [on("2024-02-01"), on("2024-02-08"), on("2024-02-15")]


def buy(number: int, who: str, day: str, cents: int, kind: str = "purchase", known_on: str | None = None):
    noon = at(day)
    event = {"event_id": f"e{number}", "customer_id": who, "kind": kind, "item_id": "pan", "amount_cents": cents}
    return event | {"occurred_at": noon, "known_at": at(known_on) if known_on else noon, "order_id": f"o{number}"}


def write(lake, batch: str, *cases) -> None:
    sign(lake, batch, events(lake.spark, *({**case, "batch_id": batch} for case in cases)))


def found(lake, table, *names):
    rows = lake.read(table).where(F.col("as_of").isin(MORNINGS))
    return {(row.customer_id, row.as_of): tuple(row[name] for name in names) for row in rows.collect()}


@pytest.mark.long
def test_a_panel_is_what_each_morning_knew(new_lake):
    lake = new_lake(as_of="2024-03-01", panel=PANEL, features={"panel_size": 1})
    write(
        lake, "start",
        buy(1, "a", "2024-01-20", 1000), buy(2, "a", "2024-02-02", 500),  # in the gap of the first morning
        buy(3, "a", "2024-02-03", 700), buy(4, "a", "2024-02-07", 100, "refund"),  # its horizon: 3 to 7
        buy(5, "a", "2024-02-10", 900), buy(6, "b", "2024-02-10", 300), buy(7, "b", "2024-02-21", 250),
        buy(8, "b", "2024-02-22", 9999),  # a day too late for the last
    )  # fmt: skip
    build_features.run(lake, lake.settings)
    build_panel.run(lake, lake.settings)
    first, second, third = MORNINGS
    assert found(lake, CUSTOMER_FEATURES, "num_orders", "net_revenue_cents", "purchase_recency_days") == {
        ("a", first): (1, 1000, 12),
        ("a", second): (3, 2100, 5),
        ("a", third): (4, 3000, 5),
        ("b", third): (1, 300, 5),
    }
    labels = ("num_orders_ahead", "net_revenue_ahead_cents", "is_churned", "gap_days", "horizon_days", "labelled_on")
    common = (2, 5, on("2024-03-01"))
    assert found(lake, CUSTOMER_LABELS, *labels) == {
        ("a", first): (1, 600, False, *common),
        ("a", second): (1, 900, False, *common),
        ("a", third): (0, 0, True, *common),
        ("b", third): (1, 250, False, *common),
    }

    # What is learned later moves labels, and no feature of a morning before it.
    before = found(lake, CUSTOMER_FEATURES, *CUSTOMER_FEATURES.schema.names)
    late = [
        buy(9, "a", "2024-01-25", 777, known_on="2024-02-28"),
        buy(10, "a", "2024-02-18", 50, known_on="2024-02-28"),
    ]
    write(lake, "late", *late, buy(11, "a", "2024-02-29", 5))
    build_features.run(lake, lake.settings)
    version = lake.version(CUSTOMER_FEATURES)
    build_panel.run(lake, lake.settings)
    assert lake.version(CUSTOMER_FEATURES) == version, "not even written again"
    assert found(lake, CUSTOMER_FEATURES, *CUSTOMER_FEATURES.schema.names) == before
    assert found(lake, CUSTOMER_LABELS, "num_orders_ahead")["a", third] == (1,)

    with_label = lake.read(CUSTOMER_FEATURES).withColumn("is_churned", F.lit(True))
    with pytest.raises(ContractError, match="is_churned boolean is not declared"):
        lake.replace(with_label, into=CUSTOMER_FEATURES)
    assert lake.version(CUSTOMER_FEATURES) == version


def test_a_panel_whose_answers_are_not_in_is_refused(lake):
    def days(as_of: str, **changes: object):
        asked = lake.settings.panel.model_validate({**PANEL, **changes})
        return asked_days(lake.settings.model_copy(update={"as_of": on(as_of), "panel": asked}))

    assert days("2024-02-23") == MORNINGS
    with pytest.raises(SettingsError, match="not after 2024-02-15, from which on 2 days of gap and 5 of horizon"):
        days("2024-02-22")
    with pytest.raises(SettingsError, match="the first day not after the last"):
        days("2024-03-01", first_on=on("2024-02-16") + timedelta(days=1))
