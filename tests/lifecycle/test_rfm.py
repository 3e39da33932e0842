from datetime import date

import pytest

from clm_spark.errors import SettingsError
from clm_spark.lifecycle.rfm import CELLS, rfm_scores
from clm_spark.settings import RfmSettings, load_settings
from clm_spark.tables.catalog import RFM_CELLS

COLUMNS = (
    "customer_id string, as_of date, num_orders bigint, purchase_recency_days bigint, num_orders_365d bigint, "
    "net_revenue_365d_cents bigint"
)
AS_OF = date(2024, 3, 1)


def test_fifths_of_ten_customers(spark):
    """Ten customers: the more lately they bought, the more often and the more they bought."""
    rows = [(f"c{n}", AS_OF, 99, 10 * n, 11 - n, 1000 * (11 - n)) for n in range(1, 11)]
    rows.append(("looker", AS_OF, 0, None, 0, 0))
    found = {
        row.customer_id: row
        for row in rfm_scores(spark.createDataFrame(rows, COLUMNS), settings=RfmSettings()).collect()
    }
    assert "looker" not in found
    scores = [
        (found[f"c{n}"].recency_score, found[f"c{n}"].frequency_score, found[f"c{n}"].monetary_score)
        for n in range(1, 11)
    ]
    assert scores == [(5 - n // 2,) * 3 for n in range(10)]
    cells = [found[f"c{n}"].cell for n in (1, 3, 5, 7, 9)]
    assert cells == ["champions", "loyal_customers", "need_attention", "hibernating", "lost"]


def test_limits_that_settings_give(spark):
    """Limits decide, equal figures get equal scores, and a refund counts against money."""
    limits = RfmSettings(
        recency_days=(7, 30, 90, 180), num_orders=(1, 2, 4, 8), net_revenue_cents=(0, 1000, 5000, 9999)
    )
    cases = {  # recency, orders, net revenue: scores, cell
        "on the limits": (7, 1, 0, (5, 1, 1), "new_customers"),
        "behind them": (8, 2, 1, (4, 2, 2), "potential_loyalists"),
        "often, all refunded": (1, 9, 0, (5, 5, 1), "potential_loyalists"),
        "often and dear": (1, 9, 10_000, (5, 5, 5), "champions"),
        "gone, and was dear": (181, 9, 10_000, (1, 5, 5), "cannot_lose_them"),
        "silent for more than a year": (400, 0, 0, (1, 1, 1), "lost"),
        "refunded more than bought": (31, 1, -500, (3, 1, 1), "about_to_sleep"),
        "half a year": (180, 4, 5000, (2, 3, 3), "at_risk"),
        "month": (30, 1, 0, (4, 1, 1), "promising"),
    }
    rows = [(name, AS_OF, 5, *figures) for name, (*figures, _, _) in cases.items()]
    found = rfm_scores(spark.createDataFrame(rows, COLUMNS), settings=limits).collect()
    told = {r.customer_id: ((r.recency_score, r.frequency_score, r.monetary_score), r.cell) for r in found}
    assert told == {name: (scores, cell) for name, (*_, scores, cell) in cases.items()}


def test_there_are_eleven_cells():
    assert {cell for row in CELLS.values() for cell in row} == set(RFM_CELLS)
    assert len(RFM_CELLS) == 11


def test_limits_must_rise():
    with pytest.raises(SettingsError, match=r"rfm.num_orders must rise: expected four limits from the lowest up"):
        load_settings("local", as_of="2024-03-01", overrides=["rfm.num_orders=[4, 2, 8, 9]"])
