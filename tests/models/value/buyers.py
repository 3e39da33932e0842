"""A shop in gold tables whose customers buy by a known law: features and days of a few mornings."""

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T
from simulated import SPEND

from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES
from clm_spark.tables.contract import Column as Contract

RATE_SHAPE, WEEKS_A_ORDER, DROPOUT = 0.8, 3.0, (1.0, 6.0)
WINDOWS = (30, 60, 90, 365)


def bought_days(*, num: int, until: date, days: int, seed: int) -> pd.DataFrame:
    """customer_id, day_on, cents and refund_cents of all that was bought in the `days` before `until`, once a day at most.

    One purchase in fifteen is paid back by half.
    """
    drawn, rows = np.random.default_rng(seed), []
    for number in range(num):
        at = float(drawn.integers(0, days))
        rate = drawn.gamma(RATE_SHAPE, 1 / (RATE_SHAPE * WEEKS_A_ORDER)) / 7
        leaves, scale = drawn.beta(*DROPOUT), 1 / drawn.gamma(SPEND.q, 1 / SPEND.v)
        seen: set[int] = set()
        while at < days:
            if int(at) not in seen:
                seen.add(int(at))
                cents = int(drawn.gamma(SPEND.p, scale)) + 1
                refund = cents // 2 if drawn.random() < 1 / 15 else 0
                rows.append((f"c{number:04d}", until - timedelta(days=days - int(at)), cents, refund))
            if len(seen) > 1 and drawn.random() < leaves:
                break
            at += drawn.exponential(1 / rate)
    return pd.DataFrame(rows, columns=["customer_id", "day_on", "cents", "refund_cents"])


def customer_days(spark: SparkSession, bought: pd.DataFrame) -> DataFrame:
    """gold.customer_days: each purchase known on its day."""
    rows = spark.createDataFrame(bought, "customer_id string, day_on date, revenue_cents bigint, refund_cents bigint")
    rest = {c.name: F.lit(1).cast(c.type) for c in CUSTOMER_DAYS.columns if c.name not in rows.columns}
    return rows.withColumns({**rest, "known_on": F.col("day_on")}).select(CUSTOMER_DAYS.schema.names)


def customer_features(spark: SparkSession, bought: pd.DataFrame, mornings: Sequence[date]) -> DataFrame:
    """gold.customer_features of the mornings: what value looks at as it was, all else made up."""
    rows = pd.concat([_features(bought, morning) for morning in mornings])
    known = spark.createDataFrame(rows)
    whole = {
        c.name: F.nanvl(c.name, F.lit(None)) if c.type == T.DoubleType() else F.col(c.name).cast(c.type)
        for c in CUSTOMER_FEATURES.columns
        if c.name in known.columns
    }
    rest = {c.name: _unknown(c) for c in CUSTOMER_FEATURES.columns if c.name not in known.columns}
    return known.withColumns({**whole, **rest}).select(CUSTOMER_FEATURES.schema.names)


def _features(bought: pd.DataFrame, morning: date) -> pd.DataFrame:
    past = bought[bought.day_on < morning]
    age = past.day_on.map(lambda day: (morning - day).days)
    net = past.cents - past.refund_cents
    by = past.customer_id
    ages, orders, nets = age.groupby(by), by.groupby(by).size(), net.groupby(by).sum()
    found = {
        "first_purchase_days": ages.max(),
        "tenure_days": ages.max(),
        "purchase_recency_days": ages.min(),
        "recency_days": ages.min(),
        "num_purchase_days": orders,
        "num_orders": orders,
        "net_revenue_cents": nets,
        "mean_order_cents": past.cents.groupby(by).mean(),
        "mean_gap_days": ((ages.max() - ages.min()) / (orders - 1)).where(orders > 1),
    }
    for days in WINDOWS:
        found[f"num_orders_{days}d"] = (age <= days).astype(int).groupby(by).sum()
        found[f"net_revenue_{days}d_cents"] = net.where(age <= days, 0).groupby(by).sum()
    return pd.DataFrame(found).reset_index(names="customer_id").assign(as_of=morning)


def _unknown(column: Contract) -> Column:
    """Something that its rule allows."""
    return F.lit(1 if "> 0" in (column.check or "") or column.type == T.DoubleType() else 0).cast(column.type)
