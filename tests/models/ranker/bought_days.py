"""A made shop's days with items, and its vocabulary."""

from datetime import date

from pyspark.sql import functions as F

from clm_spark.features.item_days import item_days_from_customers
from clm_spark.models.task import Inputs
from clm_spark.tables import catalog as t

AS_OF, NUM_ITEMS = date(2024, 6, 1), 24


def written(lake, rows):
    """Days with an item: customer, item, day, on which it became known, lines, views."""
    known = lake.spark.createDataFrame(
        rows, "customer_id string, item_id string, day_on date, known_on date, num_lines bigint, num_views bigint"
    )
    named = known.withColumns(
        {
            "num_events": F.col("num_lines") + F.col("num_views"),
            "num_units": F.col("num_lines"),
            "revenue_cents": 250 * F.col("num_lines"),
        }
    )
    rest = {
        c.name: F.lit(None if c.nullable else 0).cast(c.type)
        for c in t.CUSTOMER_ITEM_DAYS.columns
        if c.name not in named.columns
    }
    lake.replace(named.withColumns(rest), into=t.CUSTOMER_ITEM_DAYS)
    lake.replace(item_days_from_customers(lake.read(t.CUSTOMER_ITEM_DAYS)), into=t.ITEM_DAYS)
    of_items = ", ".join(f"{c.name} {c.type.simpleString()}" for c in t.ITEM_VOCABULARY.columns)
    # Indices with gaps, as items that were retired leave them.
    items = [(f"i{number}", AS_OF, 10 * number + 3, 9, "abc"[number % 3]) for number in range(NUM_ITEMS)]
    lake.replace(lake.spark.createDataFrame(items, of_items), into=t.ITEM_VOCABULARY)


def inputs_of(lake, customers):
    rows = lake.spark.createDataFrame([(customer,) for customer in customers], "customer_id string")
    return Inputs(lake, AS_OF, rows)
