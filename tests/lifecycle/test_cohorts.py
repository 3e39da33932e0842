from datetime import date

import duckdb
import pytest
from small_shop import SmallShop

from clm_spark.jobs import build_cohorts
from clm_spark.lifecycle.cohorts import cohorts
from clm_spark.tables.catalog import COHORTS, CUSTOMER_DAYS
from clm_spark.tables.lake import Lake

DAYS = [  # customer, day, orders, revenue, refunds
    ("a", "2023-11-30", 0, 0, 0),  # a look before the first purchase
    ("a", "2023-12-05", 1, 1000, 0),
    ("a", "2023-12-20", 2, 500, 0),
    ("a", "2024-02-01", 0, 0, 300),  # a refund in a month without a purchase
    ("b", "2023-12-31", 1, 200, 0),
    ("b", "2024-01-01", 1, 700, 0),
    ("c", "2024-02-10", 1, 50, 50),
    ("looker", "2024-01-10", 0, 0, 0),
]
EXPECTED = [  # cohort, months since, customers, active, orders, net revenue, retention
    ("2023-12-01", 0, 2, 2, 4, 1700, 1.0),
    ("2023-12-01", 1, 2, 1, 1, 700, 0.5),
    ("2023-12-01", 2, 2, 0, 0, -300, 0.0),
    ("2024-02-01", 0, 1, 1, 1, 0, 1.0),
]


def test_cohorts_worked_by_hand(spark):
    days = spark.createDataFrame(
        [(who, date.fromisoformat(on), *rest) for who, on, *rest in DAYS],
        "customer_id string, day_on date, num_orders bigint, revenue_cents bigint, refund_cents bigint",
    )
    found = cohorts(days, as_of=date(2024, 3, 1)).collect()
    assert sorted((str(row.cohort_on), *tuple(row)[2:]) for row in found) == EXPECTED
    assert {row.as_of for row in found} == {date(2024, 3, 1)}


@pytest.mark.timeout(1500)  # whichever test comes first waits for the small shop
def test_cohorts_are_those_of_duckdb(small_shop: SmallShop):
    settings = small_shop.lake.settings
    lake = Lake(small_shop.lake.spark, settings, job="build_cohorts")
    build_cohorts.run(lake, settings)
    assert lake.written == [], "once a month, and the shop has run before"
    days = lake.read_as_of(CUSTOMER_DAYS).toPandas()  # noqa: F841 - DuckDB reads it
    expected = duckdb.sql("""
        WITH bought AS (SELECT *, date_trunc('month', day_on) AS month_on FROM days),
        first AS (SELECT customer_id, min(month_on) AS cohort_on FROM bought WHERE num_orders > 0 GROUP BY ALL),
        size AS (SELECT cohort_on, count(*) AS num_customers FROM first GROUP BY ALL)
        SELECT CAST(cohort_on AS DATE), CAST(date_diff('month', cohort_on, month_on) AS INT), max(num_customers),
          count(DISTINCT customer_id) FILTER (WHERE num_orders > 0), sum(num_orders), sum(revenue_cents - refund_cents)
        FROM bought JOIN first USING (customer_id) JOIN size USING (cohort_on) WHERE month_on >= cohort_on GROUP BY cohort_on, month_on
        ORDER BY ALL""").fetchall()
    found = lake.read_as_of(COHORTS).orderBy("cohort_on", "months_since").collect()
    assert [tuple(row)[1:7] for row in found] == expected
    assert len(expected) >= 3
