"""Customers whose leaving has a known law: those silent for more than twice their own pace do not come back."""

from collections.abc import Sequence
from datetime import date

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES
from clm_spark.tables.contract import Column as Contract


def leaving_customers(spark: SparkSession, *, days: Sequence[date], num_customers: int = 300) -> DataFrame:
    """gold.customer_features and `is_churned`: the law, broken for one customer in twenty."""
    rows = (
        spark.range(num_customers)
        .withColumn("as_of", F.explode(F.array(*map(F.lit, days))))
        .withColumn("customer_id", F.format_string("c%04d", "id"))
    )
    pace, silence, chance = (F.pmod(F.xxhash64("id", "as_of", F.lit(salt)), F.lit(n)) for salt, n in
                             (("pace", 27), ("silence", 60), ("noise", 20)))  # fmt: skip
    known = rows.withColumns({"mean_gap_days": (pace + 3).cast("double"), "purchase_recency_days": silence + 1})
    known = known.withColumn("overdue_ratio", F.col("purchase_recency_days") / F.col("mean_gap_days"))
    known = known.withColumn("is_churned", (F.col("overdue_ratio") > 2) != (chance == 0))
    known = known.withColumns(
        {"num_orders": F.lit(2).cast("bigint"), "num_orders_90d": F.floor(90 / F.col("mean_gap_days"))}
    )
    known = known.withColumn("net_revenue_90d_cents", F.col("num_orders_90d") * 1000)
    rest = {c.name: _unknown(c) for c in CUSTOMER_FEATURES.columns if c.name not in known.columns}
    return known.withColumns(rest).select(*CUSTOMER_FEATURES.schema.names, "is_churned")


def their_orders(labelled: DataFrame) -> DataFrame:
    """gold.customer_days in which those who stay order five days after as_of."""
    day = F.date_add("as_of", 5)
    stayed = labelled.where(~F.col("is_churned")).select("customer_id", day.alias("day_on"), day.alias("known_on"))
    counts = {c.name: F.lit(1).cast(c.type) for c in CUSTOMER_DAYS.columns if c.name not in stayed.columns}
    return stayed.withColumns(counts).select(CUSTOMER_DAYS.schema.names)


def _unknown(column: Contract) -> Column:
    """Something that its rule allows."""
    return F.lit(1 if "> 0" in (column.check or "") or column.type == T.DoubleType() else 0).cast(column.type)
