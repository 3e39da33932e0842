"""What a model was trained from, as a short text: equal where rows and code are equal."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F


def fingerprint(rows: DataFrame) -> str:
    """A hash over all rows that does not ask for their order: their number and the sum of their hashes."""
    hashed = F.xxhash64(*sorted(rows.columns)).cast("decimal(38, 0)")
    summed = rows.agg(F.count("*").alias("num_rows"), F.sum(hashed).alias("sum")).head()
    assert summed is not None
    return f"{summed['num_rows']}:{summed['sum']}"
