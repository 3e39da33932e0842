"""Visits: a customer's events without a long silence between them."""

from datetime import timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

# Done to a customer, not by one: no sign of a visit.
NOT_A_VISIT = ("campaign_sent", "impression")


def with_session_id(events: DataFrame, *, max_gap: timedelta, within: tuple[str, ...] = ()) -> DataFrame:
    """Label each event with its visit: the `event_id` of the visit's first event; null where it is no visit.

    Needs `customer_id`, `occurred_at`, `event_id`, `kind`. `within` names columns at whose borders a visit ends too.
    """
    history = Window.partitionBy("customer_id", *within).orderBy("occurred_at", "event_id")
    before = history.rowsBetween(Window.unboundedPreceding, -1)
    so_far = history.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    seen_at = F.when(~F.col("kind").isin(*NOT_A_VISIT), F.col("occurred_at"))
    previous = F.last(seen_at, ignorenulls=True).over(before)
    is_first = seen_at.isNotNull() & (previous.isNull() | (seen_at - previous > F.lit(max_gap)))
    # Named after its first event, not counted: a late event must not renumber later visits.
    started = events.withColumn("_started", F.when(is_first, F.col("event_id")))
    session_id = F.when(seen_at.isNotNull(), F.last("_started", ignorenulls=True).over(so_far))
    return started.withColumn("session_id", session_id).drop("_started")


def sessions_from_events(events: DataFrame) -> DataFrame:
    """One row per visit, as silver.sessions declares it. Needs `session_id` and the columns of silver.events."""
    visits = (
        events.where(F.col("session_id").isNotNull())
        .groupBy("customer_id", "session_id")
        .agg(
            F.min("occurred_at").alias("started_at"),
            F.max("occurred_at").alias("ended_at"),
            F.count("*").alias("num_events"),
            num_of("view", "click").alias("num_views"),
            num_of("cart").alias("num_carts"),
            num_of("purchase").alias("num_purchases"),
            sum_of("amount_cents", "purchase").alias("revenue_cents"),
        )
    )
    seconds = F.unix_timestamp("ended_at") - F.unix_timestamp("started_at")
    return visits.withColumns({"started_on": F.to_date("started_at"), "duration_seconds": seconds})


def keep_reached(visits: DataFrame, news: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """Visits that one of the new events falls into, or near enough to belong to. No other visit can change."""
    came = news.where(~F.col("kind").isin(*NOT_A_VISIT)).select("customer_id", F.col("occurred_at").alias("_came_at"))
    is_near = (F.col("_came_at") >= F.col("started_at") - F.lit(max_gap)) & (
        F.col("_came_at") <= F.col("ended_at") + F.lit(max_gap)
    )
    return visits.join(came, on=[visits["customer_id"] == came["customer_id"], is_near], how="left_semi")


def visits_cut_again(events: DataFrame, news: DataFrame, reached: DataFrame, *, max_gap: timedelta) -> DataFrame:
    """The visits, as silver.sessions declares them, that take the place of those reached.

    `news` are among `events`. Together with the events of the visits they reach they are cut by themselves: everything
    else of their customers is a silence away.
    """
    spans = reached.select(F.col("customer_id").alias("_who"), "started_at", "ended_at")
    is_inside = (F.col("customer_id") == F.col("_who")) & F.col("occurred_at").between(
        F.col("started_at"), F.col("ended_at")
    )
    inside = events.join(spans, on=is_inside, how="left_semi")
    beside = news.join(spans, on=is_inside, how="left_anti")
    return sessions_from_events(with_session_id(inside.unionByName(beside), max_gap=max_gap))


def num_of(*kinds: str) -> Column:
    """How many events of these kinds."""
    return F.count_if(F.col("kind").isin(*kinds))


def sum_of(column: str, kind: str) -> Column:
    """Sum of a column over events of one kind; nothing known counts as nothing."""
    return F.coalesce(F.sum(F.when(F.col("kind") == kind, F.col(column))), F.lit(0))
