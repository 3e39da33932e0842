"""From a source's text fields to typed events, or a reason why not."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.keys import KeyChain
from clm_spark.privacy.pseudonyms import pseudonym, rekeyed
from clm_spark.sources.source import TEXT_FIELDS
from clm_spark.tables.catalog import EVENT_KINDS, EVENTS

MAX_RECORD_BYTES = 1 << 20  # an event says a few hundred
EARLIEST = "1995-01-01"  # no shop sold online before
NEEDS_ITEM = ("view", "cart", "uncart", "purchase", "refund", "review")
SOLD_BY_THE_LINE = ("purchase", "refund")
EPOCHS = {"epoch_ms": 1_000, "epoch_us": 1}
# Spark also reads `now`, `today` and `12:00` as times: of the day on which the job runs.
FULL_DATE = r"^\d{4}-\d{1,2}-\d{1,2}"
WHAT_AN_EVENT_SAYS = (
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


def typed_events(fields: DataFrame, *, source: str, time_format: str, known_at: str, key: KeyChain) -> DataFrame:
    """Each raw record typed: the columns of silver.events beside those of its raw record, and `reason`.

    `reason` is null where the record can be used. `known_at` says how to fill that time where the record is silent:
    occurred, or arrived. A part of a unit counts as one unit begun. A purchase or refund that names no amount is worth
    price times quantity, and one that names no quantity is of one unit.
    """
    silent = F.col("occurred_at") if known_at == "occurred" else F.col("arrived_at")
    trimmed = fields.withColumns({name: F.trim(name) for name in TEXT_FIELDS})  # by itself, so that it is done once
    typed = trimmed.select(
        "file",
        "position",
        "record",
        "arrived_at",
        "is_parsable",
        F.lit(source).alias("source"),
        _text("customer_id").alias("raw_customer_id"),
        F.lower(_text("kind")).alias("kind"),
        time_from_text(_text("occurred_at"), time_format).alias("occurred_at"),
        time_from_text(_text("known_at"), time_format).alias("said_known_at"),
        *(
            _text(name).alias(name)
            for name in ("item_id", "category", "brand", "order_id", "campaign_id", "source_session_id")
        ),
        *(_text(name).alias(f"{name}_text") for name in ("known_at", "quantity", "price", "amount", "discount")),
        F.expr("try_cast(quantity AS DECIMAL(18, 4))").alias("quantity_number"),
        *(cents(name).alias(f"{name}_cents") for name in ("price", "amount", "discount")),
        "attributes",
    )
    judged = typed.withColumn("reason", _reason())
    known = judged.withColumn("known_at", F.coalesce("said_known_at", silent))
    sold = known.withColumns({"amount_cents": _line_amount(), "quantity": _units()})
    named = sold.withColumn("customer_id", pseudonym(F.col("raw_customer_id"), key=key.first))
    # An event's id begins with the first key too: told again after a change of key, the event is found to be the same.
    return rekeyed(named.withColumn("event_id", _event_id()), EVENTS, links=key.links[1:])


def time_from_text(text: Column, time_format: str) -> Column:
    """A UTC time, or null where the text is none."""
    if time_format == "epoch_s":
        return F.timestamp_seconds(text.try_cast("decimal(18,6)"))
    if time_format in EPOCHS:
        return F.timestamp_micros(F.try_multiply(text.try_cast("bigint"), F.lit(EPOCHS[time_format])))
    if time_format == "iso":
        return F.when(text.rlike(FULL_DATE), text.try_cast("timestamp"))
    return F.try_to_timestamp(text, F.lit(time_format))


def cents(name: str) -> Column:
    """Text in currency units as whole cents, halves away from zero; null where it is no number."""
    return F.round(_text(name).try_cast("decimal(20,6)") * 100).try_cast("bigint")


def _text(name: str) -> Column:
    return F.when(F.col(name) != "", F.col(name))


def _is_sold() -> Column:
    return F.col("kind").isin(*SOLD_BY_THE_LINE)


def _units() -> Column:
    said = F.ceil("quantity_number").cast("bigint")
    return F.when(said.isNull() & _is_sold(), 1).otherwise(said)


def _line_amount() -> Column:
    worth = F.round(F.col("price_cents") * F.coalesce("quantity_number", F.lit(1))).try_cast("bigint")
    return F.coalesce("amount_cents", F.when(_is_sold(), worth))


def _reason() -> Column:
    is_bad_number = F.lit(False)
    for name, number in (
        ("quantity", "quantity_number"),
        ("price", "price_cents"),
        ("amount", "amount_cents"),
        ("discount", "discount_cents"),
    ):
        is_bad_number |= F.col(f"{name}_text").isNotNull() & F.col(number).isNull()
    is_negative = F.least(
        *(
            F.coalesce(F.col(name), F.lit(0))
            for name in ("quantity_number", "price_cents", "amount_cents", "discount_cents")
        )
    ) < F.lit(0)
    happens_later = F.col("occurred_at") > F.col("arrived_at") + F.expr("INTERVAL 1 DAY")
    is_unreadable = F.col("occurred_at").isNull() | (
        F.col("known_at_text").isNotNull() & F.col("said_known_at").isNull()
    )
    is_impossible = is_unreadable | (F.col("occurred_at") < F.lit(EARLIEST)) | happens_later
    return (
        F.when(F.octet_length("record") > MAX_RECORD_BYTES, "too_large")
        .when(~F.is_valid_utf8("record"), "wrong_encoding")
        .when(~F.col("is_parsable"), "unparsable")
        .when(F.col("raw_customer_id").isNull(), "missing_customer")
        .when(F.col("kind").isNull() | ~F.col("kind").isin(*EVENT_KINDS), "unknown_kind")
        .when(is_impossible, "impossible_time")
        .when(F.col("kind").isin(*NEEDS_ITEM) & F.col("item_id").isNull(), "missing_item")
        .when(is_bad_number, "bad_number")
        .when(is_negative, "negative_quantity")
    )


def _event_id() -> Column:
    # Times as numbers, and the attributes as they stand, in order of name: text of either costs more than all the rest.
    said = [F.unix_micros("occurred_at") if name == "occurred_at" else F.col(name) for name in WHAT_AN_EVENT_SAYS]
    texts = (F.coalesce(cell.cast("string"), F.lit("")) for cell in said)
    # No cell is left out, so a cell cannot be taken for its neighbour.
    return F.md5(F.concat_ws("\x1f", *texts, F.map_keys("attributes"), F.map_values("attributes")))
