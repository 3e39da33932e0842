"""Bots: the days on which a customer did what people do not do. Such days are flagged, never deleted."""

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.events.clocks import available_on
from clm_spark.settings import BotSettings
from clm_spark.tables.catalog import BOT_DAYS
from clm_spark.tables.lake import Lake

# What a visitor does one at a time. The lines of a basket share one moment, and a page shows many impressions.
ACTS = ("view", "click", "search", "cart")
LOOKS = ("view", "click")
# Every zone is a multiple of fifteen minutes from UTC: an hour or five minutes of a local clock are a multiple of this.
COARSE_CLOCK_US = 300_000_000
CUSTOMER_DAY = ("customer_id", "day_on")


def bot_days_from_events(events: DataFrame, *, rules: BotSettings) -> DataFrame:
    """One row per customer, day and rule broken on it, as silver.bot_days declares.

    Needs all events of the days concerned. A rule is broken from the day on which the events known by then break
    it; what becomes known later neither takes that back nor changes the figure.
    """
    versions = _versions_of_days(_acts(events, rules))
    # Carts may come in an earlier file than the views of the day: the rule waits until views are known.
    since = F.greatest("available_on", "source_looks_on")
    has_looked = F.coalesce(F.col("looked_on") <= since, F.lit(False))
    of_carts = F.col("source_looks_on").isNotNull() & ~has_looked & _reaches("num_carts", rules.carts_without_view)
    # A log whose clock is coarser than a minute has no minutes: its acts of an hour are not of one minute.
    in_a_minute = F.col("minutes_on").isNotNull() & _exceeds("num_a_minute", rules.max_per_minute)
    with_minutes = F.greatest("available_on", "minutes_on")
    breaches = (
        _breach("rate_per_minute", in_a_minute, "num_a_minute", known_on=with_minutes),
        _breach("rate_per_day", _exceeds("num_acts", rules.max_per_day), "num_acts"),
        _breach("carts_without_view", of_carts, "num_carts", known_on=since),
        _breach("user_agent", F.col("num_by_agents") > 0, "num_by_agents"),
    )
    by_day = versions.groupBy(*CUSTOMER_DAY).agg(F.array(*breaches).alias("_breaches"))
    rows = by_day.select(*CUSTOMER_DAY, F.explode("_breaches").alias("_breach")).select(*CUSTOMER_DAY, "_breach.*")
    return rows.where(F.col("known_on").isNotNull()).select(BOT_DAYS.schema.names)


def sources_without_minutes(events: DataFrame) -> DataFrame:
    """One row per `source` all of whose times here are multiples of five minutes: no rate per minute can be told."""
    return events.groupBy("source").agg(F.bool_or(_has_minutes()).alias("has_minutes")).where("NOT has_minutes")


def bot_days_to_leave_out(lake: Lake) -> DataFrame | None:
    """The flagged days; None where there are none, or the settings do not leave bots out."""
    if not lake.settings.bots.leave_out or not lake.exists(BOT_DAYS):
        return None
    bot_days = lake.read(BOT_DAYS)
    return None if bot_days.isEmpty() else bot_days


def with_flagged_on(events: DataFrame, bot_days: DataFrame | None) -> DataFrame:
    """Add `flagged_on`: the day on which the event's customer was known to have been a bot that day, or null.

    Without `bot_days` the events are returned unchanged, without a join.
    """
    if bot_days is None:
        return events
    flags = bot_days.groupBy(*CUSTOMER_DAY).agg(F.min("known_on").alias("flagged_on"))
    dated = events.withColumn("day_on", F.to_date("occurred_at"))
    return dated.join(flags, on=list(CUSTOMER_DAY), how="left").drop("day_on")


def was_flagged(events: DataFrame, *, by: Column) -> Column:
    """Whether the event was flagged as a bot's by that day, inclusive; false where there is no `flagged_on`."""
    if "flagged_on" not in events.columns:
        return F.lit(False)
    return F.coalesce(F.col("flagged_on") <= by, F.lit(False))


def drop_bot_days(events: DataFrame, bot_days: DataFrame | None) -> DataFrame:
    """Leave out the events of every customer's day that is flagged by now."""
    if bot_days is None:
        return events
    return with_flagged_on(events, bot_days).where(F.col("flagged_on").isNull()).select(events.columns)


def _acts(events: DataFrame, rules: BotSettings) -> DataFrame:
    """The events that rules are about, with the day they became available and whether their user agent is a machine's."""
    by_agent = F.lit(False) if rules.user_agents is None else F.col("attributes")["user_agent"].rlike(rules.user_agents)
    marked = events.select(
        "customer_id",
        "source",
        "kind",
        F.to_date("occurred_at").alias("day_on"),
        F.date_trunc("minute", "occurred_at").alias("minute_at"),
        _has_minutes().alias("has_minutes"),
        available_on().alias("available_on"),
        F.coalesce(by_agent, F.lit(False)).alias("is_by_agent"),
    )
    return marked.where(F.col("kind").isin(*ACTS) | F.col("is_by_agent"))


def _has_minutes() -> Column:
    return F.unix_micros("occurred_at") % COARSE_CLOCK_US != 0


def _versions_of_days(acts: DataFrame) -> DataFrame:
    """One row per customer, day and day on which more of it became known: what was known by then.

    One shuffle: all windows below are partitioned by customer and day.
    """
    is_look = F.col("kind").isin(*LOOKS)
    sources = acts.groupBy("source", "day_on").agg(
        F.min(F.when(is_look, F.col("available_on"))).alias("source_looks_on"),
        F.min(F.when(F.col("has_minutes"), F.col("available_on"))).alias("minutes_on"),
    )
    of_cart = F.when(F.col("kind") == "cart", F.col("source_looks_on"))
    minutes_known = (
        acts.join(F.broadcast(sources), on=["source", "day_on"], how="left")
        .repartition(*CUSTOMER_DAY)
        .groupBy(*CUSTOMER_DAY, "minute_at", "available_on")
        .agg(
            F.count_if(F.col("kind").isin(*ACTS)).alias("num_acts"),
            F.count(of_cart).alias("num_carts"),
            F.min(of_cart).alias("source_looks_on"),
            F.min("minutes_on").alias("minutes_on"),
            F.min(F.when(F.col("kind").isin(*LOOKS), F.col("available_on"))).alias("looked_on"),
            F.count_if("is_by_agent").alias("num_by_agents"),
        )
    )
    of_minute = Window.partitionBy(*CUSTOMER_DAY, "minute_at").orderBy("available_on")
    of_day = Window.partitionBy(*CUSTOMER_DAY).orderBy("available_on")
    # Of sources without minutes the acts of one time say nothing of a rate.
    of_rate = F.when(F.col("minutes_on").isNotNull(), F.sum("num_acts").over(of_minute))
    minutes = minutes_known.withColumn("num_a_minute", F.coalesce(of_rate, F.lit(0)))
    days = minutes.groupBy(*CUSTOMER_DAY, "available_on").agg(
        *(F.sum(name).alias(name) for name in ("num_acts", "num_carts", "num_by_agents")),
        F.max("num_a_minute").alias("num_a_minute"),
        *(F.min(name).alias(name) for name in ("source_looks_on", "looked_on", "minutes_on")),
    )
    whole_day = Window.partitionBy(*CUSTOMER_DAY)
    return days.withColumns(
        {
            **{name: F.sum(name).over(of_day) for name in ("num_acts", "num_carts", "num_by_agents")},
            "num_a_minute": F.max("num_a_minute").over(of_day),
            "source_looks_on": F.min("source_looks_on").over(of_day),
            "minutes_on": F.min("minutes_on").over(of_day),
            "looked_on": F.min("looked_on").over(whole_day),
        }
    )


def _breach(rule: str, is_broken: Column, figure: str, *, known_on: Column | None = None) -> Column:
    """The first version of a day that breaks the rule; `known_on` is null where none breaks it."""
    since = F.col("available_on") if known_on is None else known_on
    first = F.min(F.when(is_broken, F.struct(since.alias("known_on"), F.col(figure).alias("figure"))))
    return F.struct(F.lit(rule).alias("rule"), first["figure"].alias("figure"), first["known_on"].alias("known_on"))


def _exceeds(figure: str, limit: int | None) -> Column:
    return F.lit(False) if limit is None else F.col(figure) > limit


def _reaches(figure: str, limit: int | None) -> Column:
    return F.lit(False) if limit is None else F.col(figure) >= limit
