import pytest
from pyspark.sql import functions as F

from clm_spark.draws import drawn, is_among_lowest
from clm_spark.models.ranker.learned import HISTORY, _drawn


@pytest.mark.parametrize("most", [1, 50, 20_000, 30_000])
def test_the_lowest_by_hash_are_drawn_and_few_are_sorted(spark, most):
    rows, draw = spark.range(20_000), F.xxhash64("id", F.lit(7))
    expected = {row.id for row in rows.orderBy(draw, "id").limit(most).collect()}
    assert {row.id for row in drawn(rows, draw, "id", most=most).collect()} == expected
    share = rows.where(is_among_lowest(draw, most, 20_000)).count()
    assert min(most, 20_000) <= share <= min(20_000, 1.3 * most + 200)


def test_those_who_bought_are_drawn_before_those_who_only_looked(spark):
    """Of 3,000 customers every tenth bought."""
    rows = spark.range(3000).select(
        F.col("id").alias("customer_key"),
        F.array(F.when(F.col("id") % 10 == 0, 1.0).otherwise(0.0)).alias("units"),
        *(F.array(F.lit(1)).alias(name) for name in HISTORY if name not in ("customer_key", "units")),
    )
    draw = F.xxhash64("customer_key", F.lit(7))
    for most in (20, 320):
        found = {row.customer_key for row in _drawn(rows, most, 7).collect()}
        in_order = rows.orderBy(F.col("customer_key") % 10 != 0, draw, "customer_key").limit(most)
        assert found == {row.customer_key for row in in_order.collect()}
        assert sum(key % 10 == 0 for key in found) == min(most, 300)
