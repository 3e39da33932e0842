"""Rows in a fixed place and order, for fits that draw samples by them."""

from pyspark.sql import DataFrame

FEW_ROWS = 10_000  # a task of fewer costs more to start than to run, and a fit starts hundreds
FEW_PARTITIONS = 4
ROWS_PER_PARTITION = 250_000


def in_fixed_order(rows: DataFrame, *order: str, num_partitions: int | None = None) -> DataFrame:
    """The same rows in the same partitions and order, on any machine: as many partitions as the rows fill, unless given.

    Partitions go by customer_id, rows within them by `order`. Counts the rows, which should be persisted.
    """
    if num_partitions is not None:
        return rows.repartition(num_partitions, "customer_id").sortWithinPartitions(*order)
    num_rows = rows.count()
    few = max(1, min(FEW_PARTITIONS, num_rows // FEW_ROWS))
    num_partitions = max(few, -(-num_rows // ROWS_PER_PARTITION))
    return rows.repartition(num_partitions, "customer_id").sortWithinPartitions(*order)
