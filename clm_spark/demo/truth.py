"""The truth of the synthetic shop, to compare estimates with."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from clm_spark.demo.arrays import Reals
from clm_spark.demo.catalogue import ITEMS_SCHEMA, item_rows, items_of
from clm_spark.demo.parameters import Shop
from clm_spark.demo.people import ANNOYANCE, DEVICES, RESPONSES, People, campaigns_of, people_of
from clm_spark.demo.records import campaign_ids, customer_ids, times_of_days
from clm_spark.demo.seasons import Seasons, seasons_of
from clm_spark.demo.visits import Visits, visits_of

CUSTOMERS_SCHEMA = (
    "customer_id string, joined_at timestamp, visits_per_day double, dropout_chance double, dropped_out_at timestamp, "
    "active_seasonal_days double, num_visits bigint, num_orders bigint, taste array<double>, "
    "favourite_category string, price_sensitivity double, response string, device string"
)
CAMPAIGNS_SCHEMA = (
    "campaign_id string, from_at timestamp, to_at timestamp, treated_share double, responder_uplift double, "
    "annoyed_uplift double"
)


def customers_truth(spark: SparkSession, shop: Shop, *, num_parts: int) -> DataFrame:
    """One row per customer: rate, drop-out, taste, price sensitivity and response to campaigns.

    `dropped_out_at` is null for those still there at the end; `dropout_chance` is that of leaving after a purchase,
    the first ever excepted. `active_seasonal_days` is the time in the log before leaving, stretched when the shop is
    busy: visits after the first are expected at `visits_per_day` times it. `taste` follows the order of the
    categories in the shop's parameters.
    """
    blocks = spark.range(0, shop.num_blocks, 1, min(num_parts, shop.num_blocks))

    def drawn(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        seasons, campaigns = seasons_of(shop), campaigns_of(shop)
        for block in block_numbers(batches):
            people = people_of(shop, seasons, block)
            yield _customer_rows(people, visits_of(people, campaigns, seasons, shop=shop, block=block), seasons, shop)

    return blocks.mapInArrow(drawn, CUSTOMERS_SCHEMA)


def items_truth(spark: SparkSession, shop: Shop) -> DataFrame:
    """One row per item: category, brand, price, share of its category's popularity, and season.

    In its `peak_month` (1 to 12) an item is `1 + season_swing` times as popular as on average.
    """

    def drawn(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in block_numbers(batches):
            yield item_rows(items_of(shop), shop.parameters)

    return spark.range(0, 1, 1, 1).mapInArrow(drawn, ITEMS_SCHEMA)


def campaigns_truth(spark: SparkSession, shop: Shop) -> DataFrame:
    """One row per campaign: when it ran, the share treated by lot, and its effect on the treated.

    An uplift of 0.5 makes half as many visits again end in a purchase while the campaign runs. Customers who joined
    before `from_at` and were not sent the campaign are its control group.
    """

    def drawn(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in block_numbers(batches):
            yield _campaign_rows(shop)

    return spark.range(0, 1, 1, 1).mapInArrow(drawn, CAMPAIGNS_SCHEMA)


def block_numbers(batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
    """The blocks that a task is given to draw."""
    for batch in batches:
        yield from batch.column(0).to_pylist()


def _customer_rows(people: People, visits: Visits, seasons: Seasons, shop: Shop) -> pa.RecordBatch:
    laws, size = shop.parameters, len(people.number)
    left_day = np.where(np.isnan(visits.dropout_day), shop.days, visits.dropout_day)
    active = seasons.passed(left_day) - seasons.passed(np.maximum(people.joined_day, 0))
    return pa.record_batch(
        {
            "customer_id": customer_ids(people),
            "joined_at": times_of_days(people.joined_day, shop),
            "visits_per_day": people.visits_per_day,
            "dropout_chance": people.dropout_chance,
            "dropped_out_at": times_of_days(visits.dropout_day, shop),
            "active_seasonal_days": active,
            "num_visits": np.bincount(visits.customer, minlength=size),
            "num_orders": np.bincount(visits.customer[visits.buys], minlength=size),
            "taste": _lists(people.taste),
            "favourite_category": pa.array(laws.categories).take(pa.array(people.taste.argmax(axis=1))),
            "price_sensitivity": people.price_sensitivity,
            "response": pa.array(RESPONSES).take(pa.array(people.response)),
            "device": pa.array(DEVICES).take(pa.array(people.device)),
        }
    )


def _campaign_rows(shop: Shop) -> pa.RecordBatch:
    campaigns = campaigns_of(shop)
    return pa.record_batch(
        {
            "campaign_id": pa.array(campaign_ids(campaigns), pa.string()),
            "from_at": times_of_days(campaigns.from_day, shop),
            "to_at": times_of_days(campaigns.to_day, shop),
            "treated_share": np.full(len(campaigns.uplift), shop.parameters.treated_share),
            "responder_uplift": campaigns.uplift,
            "annoyed_uplift": -ANNOYANCE * campaigns.uplift,
        }
    )


def _lists(rows: Reals) -> pa.Array:
    return pa.ListArray.from_arrays(np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32), rows.ravel())
