"""Lifecycle stages: from all purchase days of a customer, or by a step from the morning before. Both give equal rows.

A purchase moves a customer up: new, activated by the second day with a purchase, growing, loyal. Silence moves the
customer down, through at_risk and lapsed to lost, at limits that are set on the day of the last purchase by the gaps
known until then. Who buys again after having lapsed is won back until the purchase after that.
"""

from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.settings import LifecycleSettings
from clm_spark.tables.catalog import ACTIVE_STAGES, LIFECYCLE_STAGES, NOT_SEEN, SILENT_STAGES

NEW, ACTIVATED, GROWING, LOYAL, WON_BACK = ACTIVE_STAGES
AT_RISK, LAPSED, LOST = SILENT_STAGES
PROSPECT = "prospect"
LIMITS = ("at_risk_on", "lapsed_on", "lost_on")  # in the order of SILENT_STAGES
FEWEST_GAPS = 30  # of the shop; fewer tell no rhythm
ROUNDING = 1e-6  # days: the spread of equal gaps is not quite 0
SHORTEST_LIMIT = 2  # days: yesterday's purchase is no silence
_STATE = ("stage", "since_on", "from_stage", "num_purchase_days", "last_purchase_on", "last_gap_days", *LIMITS)


def stages_from_history(
    purchase_days: DataFrame, first_seen: DataFrame, rhythms: DataFrame, *, as_of: date, settings: LifecycleSettings
) -> DataFrame:
    """One row per customer of `first_seen`, as gold.lifecycle_stages declares.

    `purchase_days` has `customer_id` and `day_on`, each day once; `first_seen` has `customer_id` and `first_seen_on`;
    `rhythms` is gold.purchase_rhythms.
    """
    in_order = Window.partitionBy("customer_id").orderBy("day_on")
    gap = F.date_diff("day_on", F.lag("day_on").over(in_order)).cast("int")
    numbered = purchase_days.select("customer_id", "day_on").withColumns(
        {"last_gap_days": gap, "num_purchase_days": F.row_number().over(in_order)}
    )
    until_now = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    squares = F.col("last_gap_days").cast("bigint") * F.col("last_gap_days")
    summed = numbered.withColumns(
        {
            "sum_gaps": F.coalesce(F.sum("last_gap_days").over(until_now), F.lit(0)),
            "squared_gaps": F.coalesce(F.sum(squares).over(until_now), F.lit(0)),
        }
    ).withColumn("last_purchase_on", F.col("day_on"))
    limited = _with_limits(summed, rhythms, settings).join(first_seen, on="customer_id", how="inner")

    silence_before = _by_silence(F.col("day_on"), limits=[F.lag(limit).over(in_order) for limit in LIMITS])
    bought = limited.withColumn("_silence", silence_before)
    bought = bought.withColumn("_active", _after_purchase(F.col("_silence"), settings))
    first = F.when(F.col("first_seen_on") < F.col("day_on"), PROSPECT)
    morning = F.coalesce("_silence", F.lag("_active").over(in_order), first)
    entered = F.when(
        ~morning.eqNullSafe(F.col("_active")), F.struct(F.col("day_on").alias("on"), morning.alias("from_stage"))
    )
    entries = bought.withColumn("_entered", F.last(entered, ignorenulls=True).over(until_now))
    last = entries.withColumn("_next_on", F.lead("day_on").over(in_order)).where("_next_on IS NULL")

    seen = first_seen.join(last.drop("first_seen_on", "day_on"), on="customer_id", how="left")
    has_bought = F.col("last_purchase_on").isNotNull()
    silence = _by_silence(F.lit(as_of), limits=[F.col(limit) for limit in LIMITS])
    stage = F.coalesce(silence, "_active", F.lit(PROSPECT))
    since = F.when(~has_bought, F.col("first_seen_on"))
    came_from = F.lit(None).cast("string")
    for silent, limit, before in zip(
        SILENT_STAGES, LIMITS, (F.col("_active"), F.lit(AT_RISK), F.lit(LAPSED)), strict=True
    ):
        since = since.when(silence == silent, F.col(limit))
        came_from = F.when(silence == silent, before).otherwise(came_from)
    rows = seen.select(
        "customer_id",
        stage.alias("stage"),
        since.otherwise(F.col("_entered.on")).alias("since_on"),
        F.when(silence.isNotNull(), came_from).otherwise(F.col("_entered.from_stage")).alias("from_stage"),
        F.coalesce("num_purchase_days", F.lit(0)).alias("num_purchase_days"),
        "last_purchase_on",
        "last_gap_days",
        *LIMITS,
    )
    return told(rows, as_of)


def next_stages(
    before: DataFrame, features: DataFrame, rhythms: DataFrame, *, as_of: date, settings: LifecycleSettings
) -> tuple[DataFrame, DataFrame]:
    """The stages of as_of from those of the morning before, and the customers whose stage follows from their history.

    `before` is gold.lifecycle_stages of that morning and `features` gold.customer_features of as_of. The second frame
    has `customer_id`, of those who have neither the same purchase days as then nor one more, yesterday's.
    """
    yesterday = as_of - timedelta(days=1)
    was = before.select("customer_id", *(F.col(name).alias(f"_{name}") for name in _STATE))
    now = features.select(
        "customer_id",
        F.col("num_purchase_days").cast("int").alias("num_purchase_days"),
        F.date_sub(F.lit(as_of), F.col("tenure_days").cast("int")).alias("first_seen_on"),
        F.date_sub(F.lit(as_of), F.col("purchase_recency_days").cast("int")).alias("last_purchase_on"),
        F.coalesce(F.col("first_purchase_days") - F.col("purchase_recency_days"), F.lit(0)).alias("sum_gaps"),
        F.coalesce(F.col("squared_gaps").cast("bigint"), F.lit(0)).alias("squared_gaps"),
    )
    both = now.join(was, on="customer_id", how="left")
    num_before = F.coalesce("_num_purchase_days", F.lit(0))
    is_same = (F.col("num_purchase_days") == num_before) & F.col("last_purchase_on").eqNullSafe(
        F.col("_last_purchase_on")
    )
    is_known = F.col("_stage").isNotNull() | (F.col("num_purchase_days") == 0)
    bought_yesterday = (F.col("num_purchase_days") == num_before + 1) & (F.col("last_purchase_on") == F.lit(yesterday))
    is_first_seen_then = F.col("_stage").isNotNull() | (F.col("first_seen_on") == F.lit(yesterday))
    sort = F.when(is_same & is_known, "same").when(bought_yesterday & is_first_seen_then, "bought").otherwise("other")
    sorted_ = both.withColumn("_sort", sort)

    same = sorted_.where("_sort = 'same'")
    silence = _by_silence(F.lit(as_of), limits=[F.col(f"_{limit}") for limit in LIMITS])
    stage = F.coalesce(silence, "_stage", F.lit(PROSPECT))
    is_moved = F.col("_stage").isNotNull() & (stage != F.col("_stage"))
    limit_passed = F.coalesce(
        *(F.when(stage == silent, F.col(f"_{limit}")) for silent, limit in zip(SILENT_STAGES, LIMITS, strict=True))
    )
    kept = same.select(
        "customer_id",
        stage.alias("stage"),
        F.when(is_moved, limit_passed).otherwise(F.coalesce("_since_on", "first_seen_on")).alias("since_on"),
        F.when(is_moved, F.col("_stage")).otherwise(F.col("_from_stage")).alias("from_stage"),
        "num_purchase_days",
        "last_purchase_on",
        F.col("_last_gap_days").alias("last_gap_days"),
        *(F.col(f"_{limit}").alias(limit) for limit in LIMITS),
    )

    buyers = _with_limits(sorted_.where("_sort = 'bought'"), rhythms, settings)
    active = _after_purchase(F.when(F.col("_stage").isin(*SILENT_STAGES), F.col("_stage")), settings)
    has_entered = ~active.eqNullSafe(F.col("_stage"))
    moved_up = buyers.select(
        "customer_id",
        active.alias("stage"),
        F.when(has_entered, F.col("last_purchase_on")).otherwise(F.col("_since_on")).alias("since_on"),
        F.when(has_entered, F.col("_stage")).otherwise(F.col("_from_stage")).alias("from_stage"),
        "num_purchase_days",
        "last_purchase_on",
        F.date_diff("last_purchase_on", "_last_purchase_on").cast("int").alias("last_gap_days"),
        *LIMITS,
    )
    return told(kept.unionByName(moved_up), as_of), sorted_.where("_sort = 'other'").select("customer_id")


def transitions(stages: DataFrame, *, as_of: date) -> DataFrame:
    """How many customers went from which stage to which since the morning before: gold.stage_transitions.

    Of the stages of as_of alone. What late events tell of earlier days is no transition of this day.
    """
    yesterday = F.date_sub(F.lit(as_of), 1)
    is_new_silence = F.col("stage").isin(*SILENT_STAGES) & (F.col("since_on") == F.lit(as_of))
    is_new_act = ~F.col("stage").isin(*SILENT_STAGES) & (F.col("since_on") == yesterday)
    was = F.when(is_new_silence | is_new_act, F.coalesce("from_stage", F.lit(NOT_SEEN))).otherwise(F.col("stage"))
    moved = stages.select(was.alias("from_stage"), F.col("stage").alias("to_stage"))
    counted = moved.groupBy("from_stage", "to_stage").agg(F.count("*").alias("num_customers"))
    return counted.withColumn("as_of", F.lit(as_of))


def told(rows: DataFrame, as_of: date) -> DataFrame:
    """The rows with as_of and, in words, the reason for their stage."""
    silent_days = F.date_diff(F.lit(as_of), "last_purchase_on").cast("string")
    last, due, num = F.col("last_purchase_on"), F.date_sub("at_risk_on", 1), F.col("num_purchase_days").cast("string")
    next_one = F.concat(F.lit("; the next purchase is expected by "), due)
    overdue = F.concat(F.lit("no purchase for "), silent_days, F.lit(" days, where one was expected by "), due)
    sentences = {
        PROSPECT: F.concat(F.lit("seen since "), F.col("since_on"), F.lit(", has not bought yet")),
        NEW: F.concat(F.lit("bought for the first time on "), last, next_one),
        ACTIVATED: F.concat(F.lit("bought for the second time on "), last, next_one),
        GROWING: F.concat(F.lit("bought on "), num, F.lit(" days, the last "), last, next_one),
        LOYAL: F.concat(F.lit("bought on "), num, F.lit(" days, the last "), last, next_one),
        WON_BACK: F.concat(
            F.lit("bought again on "), last, F.lit(" after "), F.col("last_gap_days").cast("string"), F.lit(" days of silence")
        ),
        AT_RISK: overdue,
        LAPSED: F.concat(overdue, F.lit("; lapsed on "), F.col("lapsed_on")),
        LOST: F.concat(overdue, F.lit("; lost on "), F.col("lost_on")),
    }  # fmt: skip
    reason = F.coalesce(*(F.when(F.col("stage") == stage, words) for stage, words in sentences.items()))
    return rows.withColumns({"as_of": F.lit(as_of), "reason": reason}).select(LIFECYCLE_STAGES.schema.names)


def _with_limits(purchases: DataFrame, rhythms: DataFrame, settings: LifecycleSettings) -> DataFrame:
    """Purchases with the mornings on which silence after them would count: `LIMITS`.

    Mean and spread of the gaps are those of the customer's own gaps and of `prior_gaps` gaps of the shop, pooled; the
    shop's are those known on the first of the purchase's month, if they are `FEWEST_GAPS` at least. Needs `last_purchase_on`, `num_purchase_days`,
    `sum_gaps` and `squared_gaps`.
    """
    of_month = rhythms.where(F.col("num_gaps") >= FEWEST_GAPS).select(
        F.col("as_of").alias("_month"), F.col("mean_gap_days").alias("_mean"), F.col("gap_spread_days").alias("_spread")
    )
    month = F.trunc("last_purchase_on", "month")
    shop = purchases.join(F.broadcast(of_month), on=month == F.col("_month"), how="left")  # a row a month
    usual, weight = F.lit(settings.usual_gap_days), F.lit(settings.prior_gaps)
    shops_mean, shops_spread = F.coalesce("_mean", usual), F.coalesce("_spread", usual)
    num = weight + F.col("num_purchase_days") - F.lit(1)
    mean = (weight * shops_mean + F.col("sum_gaps")) / num
    squares = (weight * (shops_spread * shops_spread + shops_mean * shops_mean) + F.col("squared_gaps")) / num
    pooled = shop.withColumn("_pooled_mean", mean).withColumn("_pooled_squares", squares)
    spread = F.sqrt(F.greatest(F.col("_pooled_squares") - F.col("_pooled_mean") * F.col("_pooled_mean"), F.lit(0.0)))
    days, shortest = {}, F.lit(SHORTEST_LIMIT)
    for limit, spreads in zip(
        LIMITS, (settings.at_risk_spreads, settings.lapsed_spreads, settings.lost_spreads), strict=True
    ):
        # The first morning on which a purchase would come later than the limit: after 7 days, that is the eighth.
        wanted = F.floor(F.col("_pooled_mean") + F.lit(spreads) * spread + F.lit(ROUNDING)).cast("int") + 1
        days[f"_{limit}_days"] = F.greatest(wanted, shortest)
        shortest = days[f"_{limit}_days"] + 1
    limited = pooled.withColumns({limit: F.date_add("last_purchase_on", days[f"_{limit}_days"]) for limit in LIMITS})
    return limited.drop("_month", "_mean", "_spread", "_pooled_mean", "_pooled_squares")


def _by_silence(on: Column, *, limits: list[Column]) -> Column:
    """The stage that silence until the morning `on` leads to; null where it is not long."""
    stage = F.lit(None).cast("string")
    for silent, limit in zip(SILENT_STAGES, limits, strict=True):
        stage = F.when(on >= limit, silent).otherwise(stage)
    return stage


def _after_purchase(silence: Column, settings: LifecycleSettings) -> Column:
    """The stage that a purchase leads to, by the silence before it and the number of purchase days."""
    num = F.col("num_purchase_days")
    return (
        F.when(silence.isin(LAPSED, LOST), WON_BACK)
        .when(num == 1, NEW)
        .when(num == 2, ACTIVATED)
        .when(num < settings.loyal_from, GROWING)
        .otherwise(LOYAL)
    )
