"""Events, identities, bots and visits."""

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import BATCH_ID, BIGINT, BOOL, CUSTOMER_ID, DATE, SOURCE, STRING, TIME, count
from clm_spark.tables.contract import Column, Table
from clm_spark.tables.measures import OF_VISIT

# What can happen between a customer and the shop.
EVENT_KINDS = (
    "view",
    "search",
    "cart",
    "uncart",
    "purchase",
    "refund",
    "impression",
    "click",
    "coupon_redeemed",
    "campaign_sent",
    "review",
)


CUTOFF_REASONS = ("shared_visitor", "large_group")


BOT_RULES = ("rate_per_minute", "rate_per_day", "carts_without_view", "user_agent")


EVENTS = Table(
    "silver",
    "events",
    "event: something that happened between a customer and the shop",
    key=("event_id",),
    clock="events",
    slices=("batch_id",),
    filtered_by=("occurred_at", "known_at", "visitor_id"),
    columns=(
        Column(
            "event_id",
            STRING,
            "md5 over the content of the event: the same event has the same id wherever it is read",
            rekeyed="event_id",
        ),
        Column(
            "customer_id",
            STRING,
            "keyed pseudonym of the login; of the device or cookie where nobody logged in; null for an order of a guest",
            nullable=True,
            rekeyed="pseudonym",
        ),
        Column(
            "visitor_id",
            STRING,
            "keyed pseudonym of the device or cookie, in a domain of its own",
            nullable=True,
            rekeyed="pseudonym",
        ),
        Column("kind", STRING, "what happened", values=EVENT_KINDS),
        Column("occurred_at", TIME, "when it happened"),
        Column("known_at", TIME, "when it became known to the shop"),
        Column("item_id", STRING, "the item, where one is concerned", nullable=True),
        Column("category", STRING, "the item's category at that moment", nullable=True),
        Column("brand", STRING, "the item's brand", nullable=True),
        Column("quantity", BIGINT, "units", nullable=True, check="quantity >= 0"),
        Column("price_cents", BIGINT, "price of one unit as shown", nullable=True, check="price_cents >= 0"),
        Column(
            "amount_cents",
            BIGINT,
            "money moved by this line, refunds too as a positive figure",
            nullable=True,
            check="amount_cents >= 0",
        ),
        Column(
            "discount_cents",
            BIGINT,
            "taken off the list price on this line",
            nullable=True,
            check="discount_cents >= 0",
        ),
        Column(
            "tax_cents",
            BIGINT,
            "tax on this line, whether or not amount_cents includes it",
            nullable=True,
            check="tax_cents >= 0",
        ),
        Column(
            "shipping_cents",
            BIGINT,
            "paid for shipping, beside amount_cents",
            nullable=True,
            check="shipping_cents >= 0",
        ),
        Column("order_id", STRING, "the basket", nullable=True),
        Column("campaign_id", STRING, "the campaign or coupon concerned", nullable=True),
        Column("source_session_id", STRING, "the visit as the raw log numbers it", nullable=True),
        Column("attributes", T.MapType(STRING, STRING), "all other fields of the record", nullable=True),
        SOURCE,
        BATCH_ID,
    ),
)


IDENTITY_LINKS = Table(
    "silver",
    "identity_links",
    "visitor id, login and day on which their link became known",
    key=("visitor_id", "customer_id", "known_on"),
    slices=("known_on",),
    columns=(
        Column("visitor_id", STRING, "the device or cookie, as in silver.events", rekeyed="pseudonym"),
        Column("customer_id", STRING, "the login, as in silver.events", rekeyed="pseudonym"),
        Column("known_on", DATE, "the day; an earlier one than in another row came with a late batch"),
    ),
)


IDENTITIES = Table(
    "silver",
    "identities",
    "id and day on which it became known to be another person's than before; an id without a row is its own person",
    key=("id", "known_on"),
    clock="versions",
    slices=("known_on",),
    columns=(
        Column("id", STRING, "a visitor_id or customer_id of silver.events", rekeyed="pseudonym"),
        Column("known_on", DATE, "the day it became known: an as_of takes the last row known before it"),
        Column("customer_id", STRING, "the person: the login of theirs that was linked first", rekeyed="pseudonym"),
        count("num_ids", "ids linked with one another on that day, this one among them"),
        Column("is_cut_off", BOOL, "whether these are too many for one person: each id is then its own person"),
    ),
)


IDENTITY_CUTOFFS = Table(
    "silver",
    "identity_cutoffs",
    "shared visitor id or unusually large group of ids that was not stitched, and day on which that became known",
    key=("id", "known_on", "reason"),
    slices=("known_on",),
    columns=(
        Column("id", STRING, "the visitor_id, or the id of the group that was linked first", rekeyed="pseudonym"),
        Column("known_on", DATE, "the day it became known; a group that grows gets another row"),
        Column("reason", STRING, "why", values=CUTOFF_REASONS),
        count("num_ids", "logins of the visitor id, or ids in the group, on that day"),
    ),
)


BOT_DAYS = Table(
    "silver",
    "bot_days",
    "customer, day and bot rule that it broke",
    key=("customer_id", "day_on", "rule"),
    slices=("rule", "day_on"),
    columns=(
        CUSTOMER_ID,
        Column("day_on", DATE, "the day it happened"),
        Column("rule", STRING, "the bot rule", values=BOT_RULES),
        Column("figure", BIGINT, "the number that broke the rule, as known on known_on", check="figure > 0"),
        Column("known_on", DATE, "the day it became known: an as_of after it leaves the day out"),
    ),
)


WORKED_BATCHES = Table(
    "silver",
    "worked_batches",
    "table and ingested batch whose events are processed into it",
    key=("table_name", "batch_id"),
    slices=("table_name",),
    columns=(
        Column("table_name", STRING, "the table that is made of the events"),
        BATCH_ID,
        count("num_kept", "its events at that time; a replay of the same day can bring more"),
        Column("events_version", BIGINT, "Delta version of silver.events that held them"),
        Column(
            "made_with",
            STRING,
            "sha-256 over what else the table is made of: after a change all batches are processed again",
        ),
    ),
)


SESSIONS = Table(
    "silver",
    "sessions",
    "visit: events of one customer without a long silence between them",
    key=("session_id",),
    slices=("started_on",),
    is_partitioned=False,  # a day of a small shop is no file's worth
    filtered_by=("started_at",),
    columns=(
        Column("session_id", STRING, "md5 over the customer and when the visit began", rekeyed="visit_id"),
        CUSTOMER_ID,
        Column("started_on", DATE, "day of the first event"),
        Column("started_at", TIME, "first event"),
        Column("ended_at", TIME, "last event"),
        count("duration_seconds", "from first to last event"),
        *(count(measure.name, measure.meaning) for measure in OF_VISIT),
    ),
    checks={"ends_after_start": "ended_at >= started_at"},
)
