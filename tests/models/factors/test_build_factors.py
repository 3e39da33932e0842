import math
from datetime import date, timedelta

import pytest
from leaving_customers import leaving_customers
from pyspark.sql import functions as F

from clm_spark.jobs import build_factors
from clm_spark.models.factors.measures import MEASURES
from clm_spark.tables.catalog import CUSTOMER_FACTORS, CUSTOMER_FEATURES, FACTOR_LOADINGS
from clm_spark.tables.lake import Lake

DAY = date(2024, 3, 1)
DAYS = [DAY + timedelta(days=days) for days in (0, 1, 28)]


def shop(spark, num_customers):
    """Customers of two independent habits: how often they buy, and how much of it at a discount."""
    often, keen = (F.pmod(F.xxhash64("customer_id", F.lit(salt)), F.lit(40)) for salt in ("often", "keen"))
    spread = F.pmod(F.xxhash64("customer_id", "as_of"), F.lit(5))
    customers = leaving_customers(spark, days=DAYS, num_customers=num_customers).drop("is_churned")
    return customers.withColumns(
        {
            "num_orders_90d": often + spread,
            "num_visits_90d": often + F.pmod(F.xxhash64("customer_id", "as_of", F.lit(1)), F.lit(9)),
            "num_lines_90d": often * 3 + spread * spread,
            "net_revenue_90d_cents": often * 2500 + spread * 3000,
            "purchase_recency_days": F.when(often > 0, 100 - 2 * often + spread),
            "discount_90d_share": keen / 80 + spread / 50,
            "discounted_lines_90d_share": keen / 60 + spread / 40,
            "num_coupons_90d": keen + spread,
        }
    )


def test_habits_that_go_together_become_factors_and_keep_their_numbers(new_lake):
    lake = new_lake()
    customers = shop(lake.spark, 400).persist()
    lake.replace(customers, into=CUSTOMER_FEATURES)
    written = {}
    for day in (*DAYS, DAYS[1]):
        own = Lake(lake.spark, lake.settings.model_copy(update={"as_of": day}))
        build_factors.run(own, own.settings)
        rows = {(r.factor, r.feature): r for r in own.read_as_of(FACTOR_LOADINGS).collect()}
        assert written.setdefault(day, rows) == rows, "the second run leaves the same rows"
    assert [next(iter(written[day].values())).fitted_on for day in DAYS] == [DAY, DAY, DAYS[2]]
    assert {key: row.loading for key, row in written[DAYS[1]].items()} == {
        key: row.loading for key, row in written[DAY].items()
    }
    for day in (DAY, DAYS[2]):
        strongest = {
            feature: max((1, 2), key=lambda factor, of=feature, on=day: abs(written[on][factor, of].loading))
            for feature in ("num_orders_90d", "net_revenue_90d_cents", "discount_90d_share", "num_coupons_90d")
        }
        assert list(strongest.values()) == [1, 1, 2, 2]
        assert written[day][1, "purchase_recency_days"].loading < -0.5
        assert "more coupons" in written[day][2, "num_coupons_90d"].words

    scores = lake.read(CUSTOMER_FACTORS).where(F.col("as_of") == DAYS[2])
    wide = scores.groupBy("customer_id").pivot("factor", [1, 2]).agg(F.first("score"))
    both = wide.join(customers.where(F.col("as_of") == DAYS[2]), on="customer_id")
    agreement = both.agg(
        F.corr("1", "num_orders_90d"), F.corr("2", "num_coupons_90d"), F.corr("1", "num_coupons_90d"), F.avg("1")
    ).head()
    assert agreement[0] > 0.9
    assert agreement[1] > 0.9
    assert abs(agreement[2]) < 0.2
    assert agreement[3] == pytest.approx(0, abs=1e-9)
    # The rows say how a score is made.
    one = both.orderBy("customer_id").head()
    rows = [row for (factor, _), row in written[DAYS[2]].items() if factor == 1]
    by_hand = sum(row.weight * (scaled(one, row) - row.mean) / row.deviation for row in rows)
    assert one["1"] == pytest.approx(by_hand)


def scaled(customer, row):
    value = customer[row.feature]
    if value is None:
        return row.mean
    value = value / 100 if row.feature.endswith("_cents") else value
    return math.copysign(math.log1p(abs(value)), value)


def test_of_too_few_customers_nothing_is_told(new_lake):
    lake = new_lake()
    lake.replace(shop(lake.spark, 20), into=CUSTOMER_FEATURES)
    build_factors.run(lake, lake.settings)
    assert lake.read(FACTOR_LOADINGS).isEmpty()
    assert lake.read(CUSTOMER_FACTORS).isEmpty()


def test_every_habit_is_a_feature():
    assert set(MEASURES) <= set(CUSTOMER_FEATURES.schema.names)
