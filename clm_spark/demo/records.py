"""The synthetic shop's log: late, duplicate and broken records among the good ones."""

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T

from clm_spark.demo.arrays import Numbers, Reals
from clm_spark.demo.catalogue import Items, brand_names
from clm_spark.demo.clicks import ABSENT, KIND, Clicks
from clm_spark.demo.parameters import Shop
from clm_spark.demo.people import DEVICES, Campaigns, People
from clm_spark.demo.visits import CHANNELS, SECONDS_A_DAY, Visits
from clm_spark.events.ingest.parse import NEEDS_ITEM
from clm_spark.tables.catalog import EVENT_KINDS

STRING, BIGINT, DOUBLE, TIME = T.StringType(), T.LongType(), T.DoubleType(), T.TimestampType()
# A record of the raw log: the fields of a canonical event, and the attributes that the shop logs.
LOG_SCHEMA = T.StructType(
    [
        T.StructField("customer_id", STRING),
        T.StructField("occurred_at", TIME),
        T.StructField("known_at", TIME),
        T.StructField("kind", STRING),
        T.StructField("item_id", STRING),
        T.StructField("category", STRING),
        T.StructField("brand", STRING),
        T.StructField("quantity", BIGINT),
        T.StructField("price", DOUBLE),
        T.StructField("amount", DOUBLE),
        T.StructField("discount", DOUBLE),
        T.StructField("order_id", STRING),
        T.StructField("campaign_id", STRING),
        T.StructField("source_session_id", STRING),
        T.StructField("hit", BIGINT),
        T.StructField("device", STRING),
        T.StructField("channel", STRING),
        T.StructField("user_agent", STRING),
        T.StructField("rating", BIGINT),
    ]
)
# Not written to the log: null for a good record, `duplicate`, or the reason for which it must be rejected.
FLAW = "flaw"
RECORD_SCHEMA = T.StructType([*LOG_SCHEMA.fields, T.StructField(FLAW, STRING)])
BROKEN = ("missing_customer", "unknown_kind", "impossible_time", "missing_item", "bad_number", "negative_quantity")
FLAWS = (*BROKEN, "duplicate")
DUPLICATE = FLAWS.index("duplicate")
KINDS_OF_ITEMS = [KIND[kind] for kind in NEEDS_ITEM]
USER_AGENTS = (
    "Mozilla/5.0 (Linux; Android 14; Mobile) Chrome/126.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/128.0",
    "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) Safari/605.1",
)
MS_A_DAY = 1000 * SECONDS_A_DAY


def records_of(
    clicks: Clicks,
    people: People,
    visits: Visits,
    *,
    items: Items,
    campaigns: Campaigns,
    shop: Shop,
    block: int,
) -> pa.RecordBatch:
    """The raw records of a block in the columns of `RECORD_SCHEMA`, in the order of time.

    Every event comes once whole; a duplicate is the same record again, a broken record is a copy with one field broken.
    """
    laws, draws = shop.parameters, shop.stream("records", block)
    size = len(clicks.kind)
    at_ms = shop.start_ms + np.floor(clicks.day * MS_A_DAY).astype(np.int64)
    is_late = draws.random(size) < laws.late_share
    late_ms = np.where(is_late, 1 + np.floor(draws.exponential(laws.late_days, size) * MS_A_DAY), 0).astype(np.int64)
    duplicated = np.flatnonzero(draws.random(size) < laws.duplicate_share)
    broken = np.flatnonzero(draws.random(size) < laws.broken_share)
    ways = draws.integers(len(BROKEN), size=len(broken))
    # An event without an item is not broken by lacking one.
    no_item = (ways == BROKEN.index("missing_item")) & ~np.isin(clicks.kind[broken], KINDS_OF_ITEMS)
    ways[no_item] = BROKEN.index("missing_customer")

    copied = np.concatenate([np.arange(size), duplicated, broken])
    flaw = np.concatenate([np.full(size, ABSENT), np.full(len(duplicated), DUPLICATE), ways])
    order = np.argsort(copied, kind="stable")
    copied, flaw = copied[order], flaw[order]
    return _record_batch(
        clicks.take(copied),
        people,
        visits,
        items=items,
        campaigns=campaigns,
        at_ms=at_ms[copied],
        known_ms=(at_ms + late_ms)[copied],
        flaw=flaw,
        shop=shop,
    )


def _record_batch(
    clicks: Clicks,
    people: People,
    visits: Visits,
    *,
    items: Items,
    campaigns: Campaigns,
    at_ms: Numbers,
    known_ms: Numbers,
    flaw: Numbers,
    shop: Shop,
) -> pa.RecordBatch:
    is_broken = {reason: flaw == code for code, reason in enumerate(FLAWS)}
    customers = customer_ids(people)
    sessions = [f"{customers[of]}-{number}" for of, number in zip(visits.customer, visits.number, strict=True)]
    kind = np.where(is_broken["unknown_kind"], len(EVENT_KINDS), clicks.kind)
    item = np.where(is_broken["missing_item"], ABSENT, clicks.item)
    price = np.where(clicks.item >= 0, items.price_cents[clicks.item] / 100, 0.0)
    quantity = np.where(is_broken["negative_quantity"], -1, clicks.quantity)
    has_visit = clicks.visit >= 0
    device = np.where(has_visit, _at(visits.device, clicks.visit), ABSENT)
    channel = np.where(has_visit, _at(visits.channel, clicks.visit), ABSENT)
    return pa.record_batch(
        {
            "customer_id": _named(customers, np.where(is_broken["missing_customer"], ABSENT, clicks.customer)),
            "occurred_at": _times(np.where(is_broken["impossible_time"], 0, at_ms)),
            "known_at": _times(known_ms),
            "kind": _named((*EVENT_KINDS, "?"), kind),
            "item_id": items.item_id.take(_codes(item)),
            "category": _named(shop.parameters.categories, clicks.category),
            "brand": brand_names(shop.parameters).take(
                _codes(np.where(clicks.item >= 0, items.brand[clicks.item], ABSENT))
            ),
            "quantity": pa.array(quantity, mask=(clicks.quantity < 0) & ~is_broken["negative_quantity"]),
            "price": pa.array(
                np.where(is_broken["bad_number"], np.inf, price),
                mask=(clicks.item < 0) & ~is_broken["bad_number"],
                from_pandas=False,
            ),
            "amount": _money(clicks.amount_cents),
            "discount": _money(clicks.discount_cents),
            "order_id": _named([f"o-{session}" for session in sessions], clicks.order),
            "campaign_id": _named(campaign_ids(campaigns), clicks.campaign),
            "source_session_id": _named(sessions, clicks.visit),
            "hit": _present(clicks.hit),
            "device": _named(DEVICES, device),
            "channel": _named(CHANNELS, channel),
            "user_agent": _named(USER_AGENTS, device),
            "rating": _present(clicks.rating),
            FLAW: _named(FLAWS, flaw),
        }
    )


def customer_ids(people: People) -> list[str]:
    """How the log names the customers of a block."""
    return [f"c{number:09d}" for number in people.number]


def campaign_ids(campaigns: Campaigns) -> list[str]:
    """How the log names the campaigns."""
    return [f"campaign-{number}" for number in range(1, len(campaigns.uplift) + 1)]


def times_of_days(day: Reals, shop: Shop) -> pa.Array:
    """Days from the start of the log as UTC times, NaN as null."""
    us = shop.start_ms * 1000.0 + np.nan_to_num(day) * MS_A_DAY * 1000
    return pa.array(us.astype(np.int64), pa.timestamp("us", tz="UTC"), mask=np.isnan(day))


def _at(values: Numbers, position: Numbers) -> Numbers:
    return values[position] if len(values) else np.full(len(position), ABSENT)


def _codes(codes: Numbers) -> pa.Array:
    return pa.array(codes, mask=codes < 0)


def _named(names: list[str] | tuple[str, ...], codes: Numbers) -> pa.Array:
    return pa.array(names, pa.string()).take(_codes(codes))


def _present(values: Numbers) -> pa.Array:
    return pa.array(values, mask=values < 0)


def _money(cents: Numbers) -> pa.Array:
    return pa.array(cents / 100, mask=cents < 0)


def _times(ms: Numbers) -> pa.Array:
    return pa.array(ms * 1000, pa.timestamp("us", tz="UTC"))
