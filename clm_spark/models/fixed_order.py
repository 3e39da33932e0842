"""Rows in a fixed place and order, for fits that draw samples by them."""

from pyspark.sql import DataFrame

FEWEST_PARTITIONS = 4
ROWS_PER_PARTITION = 250_000


def in_fixed_order(rows: DataFrame, *order: str) -> DataFrame:
    """The same rows in the same partitions and order, on any machine: as many partitions as the rows fill.

    Partitions go by customer_id, rows within them by `order`. Counts the rows, which should be persisted.
    """
    num_partitions = max(FEWEST_PARTITIONS, -(-rows.count() // ROWS_PER_PARTITION))
    return rows.repartition(num_partitions, "customer_id").sortWithinPartitions(*order)
