from datetime import date

from leaving_customers import leaving_customers
from pyspark.sql import functions as F

from clm_spark.models.segments import (
    assign_segments,
    fit_segments,
    segment_profiles,
    silhouette,
    with_random_segment,
)
from clm_spark.settings import SegmentSettings

KINDS = (  # share of a hundred customers, silence in days, baskets in 90 days, cents per basket, discount
    ("weekly", 50, 3, 13, 5000, 0.1),
    ("bargain", 30, 20, 5, 2000, 0.5),
    ("gone", 20, 150, 0, 1500, None),
)


def shop(spark):
    """Three kinds of customers, a little spread out."""
    number, spread = F.substring("customer_id", 2, 4).cast("int") % 100, F.pmod(F.xxhash64("customer_id"), F.lit(100))
    kind = F.when(number < 50, 0).when(number < 80, 1).otherwise(2)

    def of_kind(place):
        return F.element_at(F.array(*(F.lit(k[place]) for k in KINDS)), kind + 1)

    customers = leaving_customers(spark, days=[date(2024, 3, 1)])
    return customers.withColumns(
        {
            "purchase_recency_days": of_kind(2).cast("bigint"),
            "num_orders_90d": of_kind(3).cast("bigint"),
            "mean_order_cents": of_kind(4) * (1 + spread / 500),
            "discount_90d_share": of_kind(5).cast("double"),
            "net_revenue_90d_cents": (of_kind(3) * of_kind(4)).cast("bigint"),
            "kind": of_kind(0),
        }
    )


def test_kinds_are_found_numbered_by_revenue_and_told_in_words(spark):
    customers = shop(spark).persist()
    found = [
        assign_segments(fit_segments(customers, settings=SegmentSettings(k_to=5, seed=s)), customers) for s in (7, 8)
    ]
    for assigned in found:
        kinds = assigned.groupBy("segment").agg(F.collect_set("kind").alias("kinds")).orderBy("segment").collect()
        assert [(r.segment, r.kinds) for r in kinds] == [(0, ["weekly"]), (1, ["bargain"]), (2, ["gone"])]
    by_chance = with_random_segment(found[0], seed=7)
    assert by_chance.count() == customers.count()
    assert silhouette(found[0]) > 0.8
    assert silhouette(by_chance) < 0.1

    profiles = segment_profiles(found[0]).orderBy("segment").collect()
    assert [p.description for p in profiles] == [
        "buys about weekly, spends most, pays full price",
        "buys about every other week, spends less than most, looks for discounts",
        "has stopped buying",
    ]
    assert [round(p.customers_share, 2) for p in profiles] == [0.5, 0.3, 0.2]
    assert sum(p.revenue_share for p in profiles) == 1
    assert profiles[2].mean_discount_share is None
