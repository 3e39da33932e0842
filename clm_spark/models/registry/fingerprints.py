"""What a model was trained from, as a short text: equal where rows and code are equal."""

import hashlib
from functools import lru_cache
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import clm_spark


def fingerprint(rows: DataFrame) -> str:
    """A hash over all rows that does not ask for their order: their number and the sum of their hashes."""
    hashed = F.xxhash64(*sorted(rows.columns)).cast("decimal(38, 0)")
    summed = rows.agg(F.count("*").alias("num_rows"), F.sum(hashed).alias("sum")).head()
    assert summed is not None
    return f"{summed['num_rows']}:{summed['sum']}"


@lru_cache(maxsize=1)
def code_digest() -> str:
    """One over the code that trains and tests: a model made by other code is another model."""
    package = Path(clm_spark.__file__).parent
    files = sorted(file for folder in ("models", "evaluation") for file in (package / folder).rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
