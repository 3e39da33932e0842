"""A shop in gold tables whose customers buy by a known law: features and days of a few mornings."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from simulated import SPEND

from clm_spark.features.customers import customer_features
from clm_spark.tables.catalog import CUSTOMER_DAYS

RATE_SHAPE, WEEKS_A_ORDER, DROPOUT = 0.8, 3.0, (1.0, 6.0)


def bought_days(*, num: int, until: date, days: int, seed: int) -> pd.DataFrame:
    """customer_id, day_on and cents of everything bought in the `days` before `until`, a day at most once."""
    drawn, rows = np.random.default_rng(seed), []
    for number in range(num):
        at = drawn.integers(0, days)
        rate = drawn.gamma(RATE_SHAPE, 1 / (RATE_SHAPE * WEEKS_A_ORDER)) / 7
        leaves, scale = drawn.beta(*DROPOUT), 1 / drawn.gamma(SPEND.q, 1 / SPEND.v)
        seen = set()
        while at < days:
            day = until - timedelta(days=int(days - int(at)))
            if day not in seen:
                seen.add(day)
                rows.append((f"c{number:04d}", day, int(drawn.gamma(SPEND.p, scale)) + 1))
            if len(seen) > 1 and drawn.random() < leaves:
                break
            at += drawn.exponential(1 / rate)
    return pd.DataFrame(rows, columns=["customer_id", "day_on", "cents"])


def customer_days(spark: SparkSession, bought: pd.DataFrame) -> DataFrame:
    """gold.customer_days: each purchase known on its day, one in fifteen paid back by half."""
    rows = spark.createDataFrame(bought, "customer_id string, day_on date, cents bigint")
    is_returned = F.pmod(F.xxhash64("customer_id", "day_on"), F.lit(15)) == 0
    named = {"known_on": F.col("day_on"), "revenue_cents": F.col("cents"),
             "refund_cents": F.when(is_returned, F.floor(F.col("cents") / 2)).otherwise(0).cast("bigint")}  # fmt: skip
    dated = rows.withColumns(named)
    ones = ("num_events", "num_acts", "num_lines", "num_units", "num_visits", "num_orders", "num_buying_visits")
    rest = {
        column.name: F.lit(int(column.name in ones)).cast(column.type)
        for column in CUSTOMER_DAYS.columns
        if column.name not in dated.columns and isinstance(column.type, T.LongType)
    }
    return dated.withColumns(rest).select(CUSTOMER_DAYS.schema.names)


def features_of(days: DataFrame, mornings: Sequence[date]) -> DataFrame:
    """gold.customer_features of the mornings."""
    return customer_features(days, days=mornings)
