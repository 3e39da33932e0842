"""The small aggregates behind the page: each takes rows of a table and gives a few dozen rows at the most."""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.ingest.replay import REPLAY
from clm_spark.lifecycle.rfm import worth_score

FUNNEL_DAYS = 90


def keep_newest(rows: DataFrame, *, as_of: date, of: tuple[str, ...] = ()) -> DataFrame:
    """Rows of the last `as_of` not after the asked one; with `of`, of the last one of each such group.

    Models are trained less often than the page is made.
    """
    past = rows.where(F.col("as_of") <= F.lit(as_of))
    if not of:
        return past.join(past.agg(F.max("as_of").alias("as_of")), on="as_of", how="left_semi")
    latest = past.groupBy(*of).agg(F.max("as_of").alias("as_of"))
    return past.join(F.broadcast(latest), on=[*of, "as_of"], how="left_semi")


def totals_from_features(features: DataFrame) -> DataFrame:
    """One row: customers known, and what the last 30 days brought; money in cents."""
    return features.agg(
        F.count("*").alias("num_customers"),
        F.count_if(F.col("num_orders_30d") > 0).alias("num_buyers_30d"),
        F.sum("num_orders_30d").alias("num_orders_30d"),
        F.sum("net_revenue_30d_cents").alias("net_revenue_30d_cents"),
    )


def weeks_from_customer_days(days: DataFrame, *, as_of: date, num_weeks: int) -> DataFrame:
    """One row per week with any event: baskets, customers who did something, net revenue in cents.

    Weeks are counted back from `as_of`, so that the last one is whole; a first one cut short is left out.
    """
    age = F.floor((F.datediff(F.lit(as_of), F.col("day_on")) - 1) / 7).cast("int")
    # A week more than is shown, to see that the first one is whole; older days are not read.
    days = days.where(F.col("day_on") >= F.lit(as_of - timedelta(weeks=num_weeks + 1)))
    began = days.agg(F.min("day_on").alias("began_on"))
    # A campaign that was sent is something the shop did.
    is_active = F.col("num_events") > F.col("num_campaigns")
    weeks = (
        days.groupBy(age.alias("age"))
        .agg(
            F.sum("num_orders").alias("num_orders"),
            F.count_distinct(F.when(is_active, F.col("customer_id"))).alias("num_active"),
            F.sum(F.col("revenue_cents") - F.col("refund_cents")).alias("net_revenue_cents"),
        )
        .withColumn("week_on", F.date_sub(F.lit(as_of), (F.col("age") + 1) * 7))
    )
    whole = weeks.join(began, how="inner", on=F.col("week_on") >= F.col("began_on"))
    return whole.where(F.col("age") < num_weeks).drop("age", "began_on").orderBy("week_on")


def events_by_kind(events: DataFrame) -> DataFrame:
    """One row per kind of event in the log, at most as many as there are kinds."""
    return events.groupBy("kind").agg(F.count("*").alias("num_events")).orderBy("kind")


def orders_of_guests(events: DataFrame) -> DataFrame:
    """One row: the orders of no customer, and their net revenue in cents; null where there are none."""
    guests = events.where(F.col("customer_id").isNull())
    bought = F.col("kind") == "purchase"
    signed = F.when(bought, F.col("amount_cents")).otherwise(-F.col("amount_cents"))
    return guests.agg(
        F.count_distinct(F.when(bought, F.coalesce("order_id", "event_id"))).alias("num_orders"),
        F.sum(signed).alias("net_revenue_cents"),
    )


def funnel_from_sessions(sessions: DataFrame, *, as_of: date) -> DataFrame:
    """One row: visits of the last 90 days, and how many of them went how far.

    A visit counts at a step when it did that and everything before it, so the steps can only shrink.
    """
    # A literal for the files to be skipped by; a zone's day may begin half a day before or after.
    begun = F.col("started_at") >= F.lit(as_of - timedelta(days=FUNNEL_DAYS + 1))
    recent = sessions.where(begun & _in_last_days(F.to_date("started_at"), as_of) & (F.col("ended_at") < F.lit(as_of)))
    viewed = F.col("num_views") > 0
    carted = viewed & (F.col("num_carts") > 0)
    return recent.agg(
        F.count("*").alias("num_visits"),
        F.count_if(viewed).alias("num_viewing"),
        F.count_if(carted).alias("num_carting"),
        F.count_if(carted & (F.col("num_purchases") > 0)).alias("num_buying"),
        F.count_if(F.col("num_purchases") > 0).alias("num_buying_at_all"),
    )


def campaign_steps_from_days(days: DataFrame, *, as_of: date) -> DataFrame:
    """One row: customers seen in the last 90 days, and how many of them campaigns reached and moved.

    A customer counts at a step when all steps before it happened too, in whatever order.
    """
    per_customer = (
        days.where(_in_last_days(F.col("day_on"), as_of))
        .groupBy("customer_id")
        .agg(*(F.sum(name).alias(name) for name in ("num_campaigns", "num_orders", "num_coupons")))
    )
    reached = F.col("num_campaigns") > 0
    bought = reached & (F.col("num_orders") > 0)
    return per_customer.agg(
        F.count("*").alias("num_customers"),
        F.count_if(reached).alias("num_reached"),
        F.count_if(bought).alias("num_buying"),
        F.count_if(bought & (F.col("num_coupons") > 0)).alias("num_redeeming"),
    )


def leaving_by_decile(scores: DataFrame) -> DataFrame:
    """One row per decile of churn: customers in it, the mean probability they were given, and their value at risk.

    `at_risk_cents` sums probability times what the customer is expected to bring by the score `value` of the same
    morning; null where nobody has one. `value_cents` is the whole of it.
    """
    worth = scores.where("score = 'value'").select("customer_id", "as_of", F.col("value").alias("worth_cents"))
    churn = scores.where("score = 'churn'").join(worth, on=["customer_id", "as_of"], how="left")
    return (
        churn.groupBy("decile", "as_of", "model_version")
        .agg(
            F.count("*").alias("num_customers"),
            F.avg("value").alias("mean_probability"),
            F.sum(F.col("value") * F.col("worth_cents")).alias("at_risk_cents"),
            F.sum("worth_cents").alias("value_cents"),
        )
        .orderBy("decile")
    )


def examples_from_recommendations(lists: DataFrame, *, num_customers: int, num_items: int) -> DataFrame:
    """The first items of a few customers: those whose lists are mostly their own, then by pseudonym."""
    is_own = F.col("source") == F.first("source").over(Window.partitionBy("customer_id").orderBy("rank"))
    chosen = (
        lists.where(F.col("rank") <= num_items)
        .withColumn("_is_own", is_own)
        .groupBy("customer_id")
        .agg(F.count_if("_is_own").alias("num_own"))
        .orderBy(F.desc("num_own"), "customer_id")
        .limit(num_customers)
    )
    shown = lists.where(F.col("rank") <= num_items).join(F.broadcast(chosen), on="customer_id", how="left_semi")
    return shown.select("customer_id", "rank", "item_id", "source", "reason")


def last_items_from_sequences(sequences: DataFrame, *, num_items: int) -> DataFrame:
    """One row per customer and item index among the last ones; `place` 0 is the newest."""
    newest_first = F.slice(F.reverse("item_indices"), 1, num_items)
    return sequences.select("customer_id", F.posexplode(newest_first).alias("place", "item_index"))


def ledger_from_batches(batches: DataFrame) -> DataFrame:
    """One row over all batches: records in and what became of them by now, and the span of the events kept.

    A replay reads no new record: those that it could use are no longer rejected.
    """
    is_replay = F.col("batch_id").startswith(REPLAY)
    read = F.when(~is_replay, F.col("num_read"))
    still_rejected = F.col("num_rejected") - F.when(is_replay, F.col("num_read")).otherwise(0)
    return batches.agg(
        F.count("*").alias("num_batches"),
        F.sum(F.when(~is_replay, F.col("num_files"))).alias("num_files"),
        F.sum(read).alias("num_read"),
        F.sum("num_kept").alias("num_kept"),
        F.sum(still_rejected).alias("num_rejected"),
        F.sum("num_duplicates").alias("num_duplicates"),
        F.to_date(F.min("first_occurred_at")).alias("first_on"),
        F.to_date(F.max("last_occurred_at")).alias("last_on"),
    )


def reasons_from_rejected(rejected: DataFrame) -> DataFrame:
    """One row per reason why records could not be used to this day, most frequent first."""
    counted = rejected.where("replayed_in IS NULL").groupBy("reason").agg(F.count("*").alias("num_rejected"))
    return counted.orderBy(F.desc("num_rejected"), "reason")


def last_writes(runs: DataFrame) -> DataFrame:
    """Runs of one as_of as they stand: job, table, rows, version, seconds."""
    latest = Window.partitionBy("job", "table_name").orderBy(F.desc("version"))
    newest = runs.withColumn("_age", F.row_number().over(latest)).where(F.col("_age") == 1)
    return newest.select("table_name", "job", "num_rows", "version", "seconds", "code_version")


def cells_of_rfm(scores: DataFrame) -> DataFrame:
    """One row per recency score and mean of frequency and money, 25 at the most: their cell, customers and cents of a year."""
    return scores.groupBy("as_of", "recency_score", worth_score().alias("worth_score"), "cell").agg(
        F.count("*").alias("num_customers"), F.sum("net_revenue_cents").alias("net_revenue_cents")
    )


def _in_last_days(day: Column, as_of: date) -> Column:
    return (day < F.lit(as_of)) & (day >= F.date_sub(F.lit(as_of), FUNNEL_DAYS))
