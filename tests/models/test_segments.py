from datetime import date

from leaving_customers import leaving_customers
from pyspark.sql import functions as F

from clm_spark.models.segment_profiles import segment_profiles
from clm_spark.models.segments import RandomSegments, SegmentSettings, fit_segments, silhouette
from clm_spark.models.task import Inputs

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


def test_kinds_are_found_numbered_by_revenue_and_told_in_words(spark, lake):
    customers = shop(spark).persist()
    fits = [fit_segments(customers, settings=SegmentSettings(k_to=5, seed=s)) for s in (7, 8)]
    found = [fit.transform(customers) for fit in fits]
    for assigned in found:
        kinds = assigned.groupBy("segment").agg(F.collect_set("kind").alias("kinds")).orderBy("segment").collect()
        assert [(r.segment, r.kinds) for r in kinds] == [(0, ["weekly"]), (1, ["bargain"]), (2, ["gone"])]
    by_chance = RandomSegments().score("", Inputs(lake, date(2024, 3, 1), found[0].drop("segment")))
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

    # Later the bargain hunters spend most: the number in use stays theirs.
    richer = F.when(F.col("kind") == "bargain", F.lit(500_000)).otherwise(F.col("net_revenue_90d_cents"))
    later = customers.withColumn("net_revenue_90d_cents", richer.cast("bigint")).persist()
    anew = fit_segments(later, settings=SegmentSettings(k_to=5)).transform(later)
    matched = fit_segments(later, settings=SegmentSettings(k_to=5), in_use=fits[0]).transform(later)
    for assigned, number in ((anew, 0), (matched, 1)):
        assert {r.segment for r in assigned.where("kind = 'bargain'").select("segment").distinct().collect()} == {
            number
        }
