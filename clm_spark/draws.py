"""Some rows out of many, drawn by hash: the same ones in every run, whatever the order of the rows."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

NUM_HASHES = 2**64


def share_to_draw(most: int, num_rows: int) -> float:
    """The share of all hashes in which `most` rows of `num_rows` surely lie, and not many more: from 0 to 1."""
    return min(1.0, (1.1 * most + 100) / max(1, num_rows))


def is_among_lowest(draw: Column, most: int, num_rows: int) -> Column:
    """Whether a row is among those from which the `most` with the lowest `draw` are taken: a 64-bit hash, of `num_rows` rows.

    Filter by it before `orderBy(draw).limit(most)`: without a filter Spark sends `most` rows of every partition to one task.
    """
    share = share_to_draw(most, num_rows)
    return F.lit(True) if share == 1.0 else draw < F.lit(int(share * NUM_HASHES) - NUM_HASHES // 2)


def drawn(rows: DataFrame, draw: Column, key: str, *, most: int) -> DataFrame:
    """The `most` rows with the lowest `draw`, a 64-bit hash; of equal ones by `key`. Counts the rows first."""
    few = rows.where(is_among_lowest(draw, most, rows.count()))
    return few.orderBy(draw, key).limit(most)
