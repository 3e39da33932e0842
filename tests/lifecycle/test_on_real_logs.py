"""Cohorts, stages and the funnel of real logs, against DuckDB over the events alone."""

from datetime import date

import duckdb
import pytest
from conftest import real_data

from clm_spark.jobs import assign_stages, build_cohorts, build_features, build_funnel, ingest_events
from clm_spark.tables.catalog import COHORTS, EVENTS, FUNNEL, LIFECYCLE_STAGES
from clm_spark.tables.lake import Lake

LOGS = [  # source, file, as_of: the morning after a day with visits
    ("retailrocket", "retailrocket_sample/events_sample_5169.parquet", date(2015, 7, 22)),
    ("eshop", "eshop_clickstream", date(2008, 6, 1)),
]
KNOWN = "SELECT * FROM events WHERE occurred_at < ? AND customer_id IS NOT NULL"
COHORTS_BY_DUCKDB = f"""
    WITH known AS ({KNOWN}),
    bought AS (SELECT customer_id, CAST(date_trunc('month', occurred_at) AS DATE) AS month_on, order_id, event_id
      FROM known WHERE kind = 'purchase'),
    first AS (SELECT customer_id, min(month_on) AS cohort_on FROM bought GROUP BY ALL),
    size AS (SELECT cohort_on, count(*) AS num_customers FROM first GROUP BY ALL)
    SELECT cohort_on, date_diff('month', cohort_on, month_on), max(num_customers), count(DISTINCT customer_id),
      count(DISTINCT coalesce(order_id, event_id))
    FROM bought JOIN first USING (customer_id) JOIN size USING (cohort_on) GROUP BY cohort_on, month_on ORDER BY ALL"""
STAGES_BY_DUCKDB = f"""
    WITH known AS ({KNOWN})
    SELECT customer_id, count(DISTINCT CAST(occurred_at AS DATE)) FILTER (WHERE kind = 'purchase') AS n,
      CAST(max(occurred_at) FILTER (WHERE kind = 'purchase') AS DATE)
    FROM known GROUP BY customer_id ORDER BY ALL"""
FUNNEL_BY_DUCKDB = f"""
    WITH known AS ({KNOWN} AND occurred_at >= CAST(? AS DATE) - 2),
    cut AS (SELECT *, occurred_at - lag(occurred_at) OVER w > INTERVAL 30 MINUTE AS is_first FROM known
      WINDOW w AS (PARTITION BY customer_id ORDER BY occurred_at, event_id)),
    numbered AS (SELECT *, count_if(coalesce(is_first, true)) OVER (PARTITION BY customer_id ORDER BY occurred_at, event_id
      ROWS UNBOUNDED PRECEDING) AS visit FROM cut),
    visits AS (SELECT customer_id, visit, count_if(kind = 'view') AS views, count_if(kind = 'cart') AS carts,
      count_if(kind = 'purchase') AS buys
      FROM numbered GROUP BY ALL HAVING CAST(min(occurred_at) AS DATE) = CAST(? AS DATE) - 1),
    customers AS (SELECT customer_id, sum(views) AS views, sum(carts) AS carts, sum(buys) AS buys FROM visits GROUP BY ALL),
    both_units AS (SELECT 'visit' AS unit, views, carts, buys FROM visits
      UNION ALL SELECT 'customer', views, carts, buys FROM customers)
    SELECT unit, count(*), count_if(views > 0), count_if(views > 0 AND carts > 0),
      count_if(views > 0 AND carts > 0 AND buys > 0), count_if(buys > 0) FROM both_units GROUP BY unit ORDER BY unit"""


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("source", "place", "as_of"), LOGS, ids=[source for source, *_ in LOGS])
def test_lifecycle_of_a_real_log(new_lake, source, place, as_of):
    folder, *file = place.split("/")
    path = real_data(folder).joinpath(*file)
    lake = new_lake(as_of=as_of, ingest={"source": source, "path": str(path)}, features={"panel_size": 1})
    for job in (ingest_events, build_features, assign_stages, build_cohorts, build_funnel):
        job.run(Lake(lake.spark, lake.settings, job=job.__name__.rsplit(".", 1)[-1]), lake.settings)
    columns = ("customer_id", "kind", "occurred_at", "order_id", "event_id")
    oracle = duckdb.connect()
    oracle.register("events", lake.read(EVENTS).select(*columns).toPandas())

    def by_duckdb(query: str, *parameters: date) -> list[tuple[object, ...]]:
        return oracle.execute(query, list(parameters)).fetchall()

    cohorts = lake.read(COHORTS).where("num_active > 0").orderBy("cohort_on", "months_since")
    names = ("cohort_on", "months_since", "num_customers", "num_active", "num_orders")
    assert [tuple(row) for row in cohorts.select(*names).collect()] == by_duckdb(
        COHORTS_BY_DUCKDB, as_of.replace(day=1)
    )
    stages = lake.read_as_of(LIFECYCLE_STAGES).orderBy("customer_id").collect()
    expected = by_duckdb(STAGES_BY_DUCKDB, as_of)
    assert [(row.customer_id, row.num_purchase_days, row.last_purchase_on) for row in stages] == expected
    assert {row.num_purchase_days == 0 for row in stages if row.stage == "prospect"} == {True}
    silent = [row for row in stages if row.num_purchase_days and as_of >= row.at_risk_on]
    assert all(row.stage in ("at_risk", "lapsed", "lost") for row in silent)
    steps = ("num_visiting", "num_viewing", "num_carting", "num_buying", "num_buying_at_all")
    funnel = lake.read_as_of(FUNNEL).orderBy("unit").select("unit", *steps).collect()
    assert [tuple(row) for row in funnel] == by_duckdb(FUNNEL_BY_DUCKDB, as_of, as_of, as_of)
    assert funnel[0].num_visiting > 10
