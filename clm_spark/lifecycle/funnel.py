"""The funnel of a day: of its visits, and of the customers who made them, how many went how far."""

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.events.bots import bot_days_to_leave_out, was_flagged, with_flagged_on
from clm_spark.events.guests import drop_guests
from clm_spark.events.identity.persons import known_persons
from clm_spark.events.ledger import is_on_days
from clm_spark.events.visits.sessions import visits_from_events
from clm_spark.features.customers import ONE_DAY
from clm_spark.tables.catalog import EVENTS, FUNNEL
from clm_spark.tables.lake import Lake
from clm_spark.tables.measures import CHANNEL, DEVICE

SOURCES = {"channel": CHANNEL, "device": DEVICE}
UNKNOWN = "unknown"
STEPS = ("num_views", "num_carts", "num_purchases")  # of a visit, in order


def visits_of_yesterday(lake: Lake) -> DataFrame:
    """The visits that began on the day before as_of, as known that morning, with the `channel` and `device` of each.

    Of the log it reads that day and the one before, whose last visit may go on after midnight.
    """
    as_of, max_gap = lake.settings.as_of, timedelta(minutes=lake.settings.sessions.max_gap_minutes)
    yesterday = as_of - ONE_DAY
    recent = lake.read_as_of(EVENTS).where(is_on_days("occurred_at", [yesterday - ONE_DAY, yesterday]))
    flagged = with_flagged_on(drop_guests(recent), bot_days_to_leave_out(lake))
    events = flagged.where(~was_flagged(flagged, by=F.lit(yesterday)))
    visits = visits_from_events(events, known_persons(lake, [as_of]), max_gap=max_gap, first=SOURCES)
    return visits.where(F.to_date("started_at") == F.lit(yesterday)).withColumn("as_of", F.lit(as_of))


def funnel(visits: DataFrame) -> DataFrame:
    """One row per as_of, unit, channel and device, as gold.funnel declares.

    `visits` has `customer_id`, `as_of`, `started_at`, `channel` and `device`, null where unknown, and a visit's measures. A
    visit or customer counts at a step with everything before it done, so steps only shrink. A customer's steps may be
    done in several visits; channel and device are then those of the first that tells them.
    """
    firsts = [
        F.min(F.when(F.col(name).isNotNull(), F.struct("started_at", name)))[name].alias(name) for name in SOURCES
    ]
    customers = visits.groupBy("customer_id", "as_of").agg(*(F.sum(step).alias(step) for step in STEPS), *firsts)
    columns = ("as_of", *SOURCES, *STEPS)
    both = (
        visits.select(F.lit("visit").alias("unit"), *columns)
        .unionByName(customers.select(F.lit("customer").alias("unit"), *columns))
        .withColumns({name: F.coalesce(name, F.lit(UNKNOWN)) for name in SOURCES})
    )
    views, carts, buys = (F.col(step) > 0 for step in STEPS)
    counted = both.groupBy("as_of", "unit", *SOURCES).agg(
        F.count("*").alias("num_visiting"),
        F.count_if(views).alias("num_viewing"),
        F.count_if(views & carts).alias("num_carting"),
        F.count_if(views & carts & buys).alias("num_buying"),
        F.count_if(buys).alias("num_buying_at_all"),
    )
    return counted.select(FUNNEL.schema.names)
