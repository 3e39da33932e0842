"""From a source's text fields to typed events, or the reason for rejection."""

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.events import clocks
from clm_spark.events.clocks import time_from_text
from clm_spark.keys import KeyChain, pseudonym_key
from clm_spark.privacy.pseudonyms import pseudonym, rekeyed, visitor_key
from clm_spark.session import in_zone
from clm_spark.settings import Settings
from clm_spark.sources.source import TEXT_FIELDS, Source
from clm_spark.tables.catalog import EVENT_KINDS, EVENTS

ONE_DAY = timedelta(days=1)
MAX_RECORD_BYTES = 1 << 20  # an event has a few hundred
NEEDS_ITEM = ("view", "cart", "uncart", "review")
FILTERED = "filtered"  # as the mapping says: no fault of the record
SOLD_BY_THE_LINE = ("purchase", "refund")
MONEY = ("price", "amount", "discount", "tax", "shipping")  # fields in currency units
DAY_US = 86_400_000_000
# What event_id is made of. Not the visitor_id: sent again with a device beside the login, it is the same event.
IDENTIFYING_FIELDS = (
    "source",
    "customer_id",
    "kind",
    "occurred_at",
    "item_id",
    "quantity",
    "price_cents",
    "amount_cents",
    "discount_cents",
    "order_id",
    "campaign_id",
    "source_session_id",
)


def typed_events(
    fields: DataFrame,
    *,
    source: str,
    time_format: str,
    known_at: str,
    key: KeyChain,
    time_zone: str = "UTC",
    max_clock_skew: timedelta | None = None,
    max_lateness: timedelta | None = None,
    keeps_guests: bool = False,
    known_from: datetime | None = None,
    tells_lines_by_time: bool = True,
) -> DataFrame:
    """Each raw record typed: the columns of silver.events beside those of its raw record, and `reason`.

    `reason` is null where the record can be used. `known_at` is how to fill that time where the record has none:
    occurred, not before `known_from` where that is given, or arrived. Quantities are rounded up to whole units. A
    purchase or refund without an amount gets
    price times quantity, and one without a quantity is of one unit. Without a login the visitor id is the customer's.
    Where a record has the time of sending, and the device's clock was wrong by more than `max_clock_skew`, `occurred_at`
    is corrected to the server's clock. With `keeps_guests` a purchase or refund may be of no customer.

    A line of an order that is bought again at another time of the same day is the same event, unless `tells_lines_by_time`.
    """

    def time(name: str) -> Column:
        return time_from_text(_text(name), time_format, time_zone=time_zone)

    happened = F.col("occurred_at") if known_from is None else F.greatest("occurred_at", F.lit(known_from))
    default_known_at = F.col("arrived_at") if known_at == "arrived" else happened
    trimmed = fields.withColumns({name: F.trim(name) for name in TEXT_FIELDS})  # by itself, so that it is done once
    typed = trimmed.select(
        "file",
        "position",
        "header",
        "record",
        "arrived_at",
        "is_parsable",
        "is_wanted",
        F.lit(source).alias("source"),
        _text("customer_id").alias("raw_customer_id"),
        _text("visitor_id").alias("raw_visitor_id"),
        F.lower(_text("kind")).alias("kind"),
        time("occurred_at").alias("device_at"),
        F.col("occurred_at").alias("occurred_text"),
        time("known_at").alias("logged_known_at"),
        time("sent_at").alias("sent_at"),
        *(
            _text(name).alias(name)
            for name in ("item_id", "category", "brand", "order_id", "campaign_id", "source_session_id")
        ),
        *(_text(name).alias(f"{name}_text") for name in ("known_at", "sent_at", "quantity", *MONEY)),
        F.expr("try_cast(quantity AS DECIMAL(18, 4))").alias("quantity_number"),
        *(cents(name).alias(f"{name}_cents") for name in MONEY),
        _text("event_id").alias("own_id"),
        "attributes",
        "known_attributes",
        "new_columns",
    )
    device_at, error = F.col("device_at"), F.col("clock_error")
    # Where a source has no sent_at, Spark folds all of this away when it plans.
    timed = typed.withColumn("clock_error", _clock_error(max_clock_skew))
    corrected = timed.withColumn("occurred_at", clocks.corrected(device_at, error))
    twice = clocks.comes_twice(_text("occurred_text"), device_at, time_format, time_zone=time_zone)
    known = corrected.withColumn("comes_twice", twice).withColumn(
        "known_at", F.coalesce("logged_known_at", default_known_at)
    )
    reason = _reason(max_clock_skew=max_clock_skew, max_lateness=max_lateness, keeps_guests=keeps_guests)
    validated = known.withColumn("reason", reason)
    sold = validated.withColumns({"amount_cents": _line_amount(), "quantity": _units()})
    visited = sold.withColumn("visitor_id", pseudonym(F.col("raw_visitor_id"), key=visitor_key(key.first)))
    login = pseudonym(F.col("raw_customer_id"), key=key.first)
    named = visited.withColumn("customer_id", F.coalesce(login, "visitor_id"))
    event_id = _event_id(tells_lines_by_time=tells_lines_by_time, time_zone=time_zone)
    # The id is made of the uncorrected device time, as the correction differs a little each time an event is sent. It
    # begins with the first key, so that an event sent again after a change of key has the same id.
    identified = rekeyed(named.withColumn("event_id", event_id), EVENTS, links=key.links[1:])
    return identified.withColumn("attributes", clocks.with_device_time(F.col("attributes"), device_at, error))


def typed_records(raw: DataFrame, source: Source, settings: Settings) -> DataFrame:
    """`typed_events` of raw records, by the settings: the same whatever the zone of the shop's days."""
    wanted = settings.ingest
    with in_zone(raw.sparkSession, "UTC"):
        return typed_events(
            source.fields(raw),
            source=source.name,
            time_format=source.time_format,
            time_zone=source.time_zone,
            known_at=wanted.known_at,
            known_from=_known_from(settings),
            key=pseudonym_key(settings),
            max_clock_skew=timedelta(seconds=wanted.max_clock_skew_seconds),
            max_lateness=None if wanted.max_lateness_days is None else timedelta(days=wanted.max_lateness_days),
            keeps_guests=wanted.guests == "kept",
            tells_lines_by_time=source.tells_lines_by_time,
        )


def _known_from(settings: Settings) -> datetime | None:
    """From when on the as_of of this run, and no earlier one, sees what happened before; None for a history."""
    until = settings.ingest.history_until
    if settings.ingest.known_at != "ingested" or until is None or settings.as_of <= until:
        return None
    return clocks.midnight(settings.as_of - ONE_DAY, settings.shop.time_zone or "UTC")


def cents(name: str) -> Column:
    """Text in currency units as whole cents, halves away from zero; null where it is no number."""
    return F.round(_text(name).try_cast("decimal(20,6)") * 100).try_cast("bigint")


def _text(name: str) -> Column:
    return F.when(F.col(name) != "", F.col(name))


def _lacks_item() -> Column:
    """What is bought or returned may be a whole order, of which the amount is known."""
    is_worth_something = F.coalesce("amount_text", "price_text").isNotNull()
    is_needed = F.col("kind").isin(*NEEDS_ITEM) | (_is_sold() & ~is_worth_something)
    return is_needed & F.col("item_id").isNull()


def _is_sold() -> Column:
    return F.col("kind").isin(*SOLD_BY_THE_LINE)


def _units() -> Column:
    units = F.ceil("quantity_number").cast("bigint")
    return F.when(units.isNull() & _is_sold(), 1).otherwise(units)


def _line_amount() -> Column:
    worth = F.round(F.col("price_cents") * F.coalesce("quantity_number", F.lit(1))).try_cast("bigint")
    return F.coalesce("amount_cents", F.when(_is_sold(), worth))


def _clock_error(max_skew: timedelta | None) -> Column:
    if max_skew is None:
        return F.lit(None).cast("bigint")
    return clocks.clock_error(F.col("logged_known_at"), F.col("sent_at"), max_skew=max_skew)


def _reason(*, max_clock_skew: timedelta | None, max_lateness: timedelta | None, keeps_guests: bool) -> Column:
    numbers = {"quantity": "quantity_number", **{name: f"{name}_cents" for name in MONEY}}
    is_bad_number = F.lit(False)
    for name, number in numbers.items():
        is_bad_number |= F.col(f"{name}_text").isNotNull() & F.col(number).isNull()
    is_negative = F.least(*(F.coalesce(F.col(number), F.lit(0)) for number in numbers.values())) < F.lit(0)
    is_of_nobody = F.coalesce("raw_customer_id", "raw_visitor_id").isNull()
    is_guest = _is_sold() if keeps_guests else F.lit(False)
    reason = (
        F.when(F.octet_length("record") > MAX_RECORD_BYTES, "too_large")
        .when(~F.is_valid_utf8("record"), "wrong_encoding")
        .when(~F.col("is_parsable"), "unparsable")
        .when(~F.col("is_wanted"), FILTERED)
        .when(is_of_nobody & ~F.coalesce(is_guest, F.lit(False)), "missing_customer")
        .when(F.col("kind").isNull() | ~F.col("kind").isin(*EVENT_KINDS), "unknown_kind")
        .when(_is_impossible_time(max_clock_skew), "impossible_time")
        .when(_lacks_item(), "missing_item")
        .when(is_bad_number, "bad_number")
        .when(is_negative, "negative_quantity")
    )
    if max_lateness is None:
        return reason
    is_late = clocks.is_too_late(F.col("occurred_at"), known_at=F.col("known_at"), max_lateness=max_lateness)
    return reason.when(is_late, "too_late")  # the last: with a longer limit it is an event


def _is_impossible_time(max_clock_skew: timedelta | None) -> Column:
    is_unreadable = F.lit(False)
    for name, time in (("known_at", "logged_known_at"), ("sent_at", "sent_at")):
        is_unreadable |= F.col(f"{name}_text").isNotNull() & F.col(time).isNull()
    cannot_be = is_unreadable | clocks.is_impossible(F.col("occurred_at"), arrived_at=F.col("arrived_at"))
    if max_clock_skew is None:
        return cannot_be
    return cannot_be | clocks.is_sent_before(F.col("device_at"), sent_at=F.col("sent_at"), max_skew=max_clock_skew)


def _event_id(*, tells_lines_by_time: bool, time_zone: str) -> Column:
    told_us = F.unix_micros("device_at")
    if not tells_lines_by_time:
        # A page that is loaded again sends its order again, a second or an hour later: a line is told by its day.
        is_line = (F.col("kind") == "purchase") & F.col("order_id").isNotNull()
        day = F.unix_date(F.from_utc_timestamp("device_at", time_zone).cast("date")).cast("bigint")
        told_us = F.when(is_line, day * DAY_US).otherwise(told_us)
    # Times as numbers, and attributes as they are, in order of name: turning them into text costs more than all the rest.
    cells = [told_us if name == "occurred_at" else F.col(name) for name in IDENTIFYING_FIELDS]
    texts = (F.coalesce(cell.cast("string"), F.lit("")) for cell in cells)
    # No cell is left out, so a cell cannot be taken for its neighbour.
    # Not of columns that the source does not know: the same event, exported again with a column more, is the same.
    attributes = F.map_keys("known_attributes"), F.map_values("known_attributes")
    content = F.md5(F.concat_ws("\x1f", *texts, *attributes))
    own = F.md5(F.concat_ws("\x1f", "source", F.lit("event_id"), "own_id"))
    return F.when(F.col("own_id").isNotNull(), own).otherwise(content)
