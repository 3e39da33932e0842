from datetime import date

import pytest

from clm_spark.models.habits import habit_scores
from clm_spark.settings import HabitSettings

AS_OF = date(2024, 3, 1)
COLUMNS = (
    "customer_id string, as_of date, num_lines_365d bigint, num_refunds_365d bigint, num_discounted_lines_365d bigint"
)
SETTINGS = HabitSettings(prior_lines=10, discount_only_share=0.8)


def test_a_habit_is_a_share_shrunk_towards_the_shops(spark):
    rows = spark.createDataFrame(
        [  # lines, refunded, discounted
            ("one of one", AS_OF, 1, 1, 1),
            ("often", AS_OF, 100, 40, 99),
            ("never", AS_OF, 99, 0, 0),
            ("more refunds than lines", AS_OF, 5, 7, 0),
            ("bought nothing", AS_OF, 0, 3, 0),
        ],
        COLUMNS,
    )
    refunds = {row.customer_id: row for row in habit_scores(rows, habit="refunds", settings=SETTINGS).collect()}
    assert refunds.keys() == {"one of one", "often", "never", "more refunds than lines"}
    shop = 46 / 205  # a customer has no more refunded lines than lines
    assert refunds["one of one"].value == pytest.approx((1 + 10 * shop) / 11)
    assert refunds["often"].value == pytest.approx((40 + 10 * shop) / 110)
    assert refunds["never"].value == pytest.approx(10 * shop / 109)
    assert refunds["more refunds than lines"].value == pytest.approx((5 + 10 * shop) / 15)
    for row in refunds.values():
        assert 0 <= row.low < row.value < row.high <= 1
        assert row.high - row.value == pytest.approx(1.96 * (row.value * (1 - row.value) / (_lines(row) + 11)) ** 0.5)
    labels = {name: row.label for name, row in refunds.items()}
    assert labels == {
        "one of one": "usual",
        "often": "refund_prone",
        "never": "usual",
        "more refunds than lines": "refund_prone",
    }
    assert refunds["often"].reasons == [
        "lines refunded in the last 365 days: 40",
        "basket lines bought in the last 365 days: 100",
    ]

    discounts = {row.customer_id: row for row in habit_scores(rows, habit="discounts", settings=SETTINGS).collect()}
    assert {name: row.label for name, row in discounts.items()} == {
        "one of one": "usual", "often": "discount_only", "never": "usual", "more refunds than lines": "usual"
    }  # fmt: skip


def _lines(row):
    return int(row.reasons[1].rsplit(" ", 1)[1])
