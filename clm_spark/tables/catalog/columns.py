"""Columns that several tables share, and short names of types."""

from pyspark.sql import types as T

from clm_spark.tables.contract import Column

BOOL = T.BooleanType()


BIGINT = T.LongType()


DATE = T.DateType()


DOUBLE = T.DoubleType()


INT = T.IntegerType()


STRING = T.StringType()


TIME = T.TimestampType()


def count(name: str, comment: str) -> Column:
    """A whole number that is never below 0."""
    return Column(name, BIGINT, comment, check=f"{name} >= 0")


def share(name: str, comment: str, *, nullable: bool = False) -> Column:
    """A share, 0 to 1."""
    return Column(name, DOUBLE, comment, nullable=nullable, check=f"{name} BETWEEN 0 AND 1")


CUSTOMER_ID = Column(
    "customer_id", STRING, "keyed pseudonym of the customer: HMAC-SHA256, hexadecimal", rekeyed="pseudonym"
)


AS_OF = Column("as_of", DATE, "the day of this row: made of what happened and was known before it")


MODEL_VERSION = Column("model_version", STRING, "the model that made this row, as the registry names it")


ITEM_ID = Column("item_id", STRING, "the item")


DAY_ON = Column("day_on", DATE, "the day it happened")


KNOWN_ON = Column("known_on", DATE, "the day this version became known: it holds all of day_on that was known by then")


ID_IN_EVENTS = Column(
    "customer_id",
    STRING,
    "the id in the event, as in silver.events; silver.identities maps it to a person",
    rekeyed="pseudonym",
)


BATCH_ID = Column(
    "batch_id", STRING, "the ingested batch: a hash over its files' names, sizes and times, or over a stream's step"
)


SOURCE = Column("source", STRING, "the raw format it came in, one of clm_spark.sources")


FILE = Column("file", STRING, "URL of the raw file, or kafka://TOPIC/PARTITION")


HEADER = Column("header", STRING, "the file's own header, where it differs from the usual one", nullable=True)


POSITION = Column("position", BIGINT, "line of the text file or row of the Parquet file, from 1; offset in Kafka")
