"""A shop of 25 customers over ten days, with all that makes a day differ from the one before."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise

from pyspark.sql import DataFrame, SparkSession
from shop_events import at, events, on

from clm_spark.events.bots import with_flagged_on
from clm_spark.features.customer_item_days import customer_item_days_from_events

FIRST = on("2024-02-01")
MORNINGS = [FIRST + timedelta(days=number) for number in (6, 7, 8, 9)]
ITEMS = ("pan", "pot", "cup", "new", "gone")


@dataclass(frozen=True)
class ChangingShop:
    """Some events come late, some are of guests; on the second morning c05 is found to be a bot since the first day.

    "new" comes into the vocabulary on the third morning, when "gone" goes. c07 is found to be c06 on the last, when c10
    is no longer taken to be c11.
    """

    spark: SparkSession

    @cached_property
    def log(self) -> DataFrame:
        drawn, log = random.Random(9), []
        for n in range(150):
            day = FIRST + timedelta(days=drawn.randrange(9))
            known_on = day + timedelta(days=drawn.choice([0] * 9 + [3]))
            clock = drawn.choice(["00:00", "09:00", "09:00", "23:59"])
            event = {
                "customer_id": None if n % 31 == 30 else f"c{n % 25:02d}",
                "occurred_at": at(str(day), clock),
                "item_id": drawn.choice(ITEMS[:3]),
                **drawn.choice([{"price_cents": 100 + n}, {"amount_cents": 2 * n, "quantity": 2}, {"amount_cents": 7}]),
            }
            log.append(
                event | {"known_at": at(str(known_on), "23:59"), "kind": drawn.choice(["view", "cart", "refund"])}
            )
        rare = [("c01", "new", 1), ("c02", "new", 7), ("c03", "gone", 2), ("c04", "gone", 3)]
        for who, item, number in rare:
            day = str(FIRST + timedelta(days=number))
            log.append({"customer_id": who, "item_id": item, "occurred_at": at(day, "12:00")})
        flags = [("c05", FIRST + timedelta(days=n), MORNINGS[1]) for n in range(9)]
        flags = self.spark.createDataFrame(flags, "customer_id string, day_on date, known_on date")
        return with_flagged_on(events(self.spark, *log), flags).localCheckpoint()

    @cached_property
    def customer_item_days(self) -> DataFrame:
        return customer_item_days_from_events(self.log).localCheckpoint()

    @property
    def vocabulary(self) -> DataFrame:
        known = [
            (item, day, n)
            for day in MORNINGS
            for n, item in enumerate(ITEMS, 1)
            if item not in (("new",) if day < MORNINGS[2] else ("gone",))
        ]
        return self.spark.createDataFrame(known, "item_id string, as_of date, item_index int")

    @property
    def persons(self) -> DataFrame:
        linked = [("c08", day, "c09") for day in MORNINGS] + [("c07", MORNINGS[-1], "c06")]
        linked += [("c10", day, "c11") for day in MORNINGS[:-1]]
        return self.spark.createDataFrame(linked, "id string, as_of date, person_id string")

    def persons_of(self, *days: date) -> DataFrame:
        return self.persons.where(f"as_of IN ({', '.join(map(repr, map(str, days)))})")

    def items_of(self, day: date) -> DataFrame:
        return self.vocabulary.where(f"as_of = '{day}'").select("item_id")


def steps() -> Iterator[tuple[date, date]]:
    """Each morning with the one before: `yesterday, morning`."""
    return pairwise(MORNINGS)
