"""The shop's own files about its items and customers: CSV with a header, or Parquet."""

import logging
from collections.abc import Mapping, Sequence

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.errors import SourceError, in_a_line
from clm_spark.sources.paths import literal

log = logging.getLogger(__name__)

TOLD_OF_ITEMS = ("num_in_stock", "brand", "is_excluded", "is_sponsored")
YES, NO = ("true", "yes", "1"), ("false", "no", "0")


def item_facts(spark: SparkSession, path: str) -> DataFrame:
    """One row per item of the file: `item_id`, `num_in_stock`, `brand`, `is_excluded`, `is_sponsored`.

    Raises `SourceError` for a file that is missing, lacks item_id, tells nothing else or has no row, and for the first row
    that cannot be used.
    """
    rows = _rows(spark, path, needed=("item_id",), optional=TOLD_OF_ITEMS)
    if rows.isEmpty():
        raise SourceError(f"{path} has no row: expected one per item; deliver it whole, or set shop_facts.items=null")
    is_flag = _is_flag("is_excluded") & _is_flag("is_sponsored")
    in_stock = F.col("num_in_stock").try_cast("decimal(20,4)")
    rules = {
        "expected is_excluded and is_sponsored to be true, false or empty": is_flag,
        "expected num_in_stock to be a number or empty": F.col("num_in_stock").isNull() | in_stock.isNotNull(),
    }
    _check(rows, path, key=("item_id",), rules=rules)
    flags = {name: F.coalesce(F.lower(name).isin(*YES), F.lit(False)) for name in ("is_excluded", "is_sponsored")}
    return rows.withColumns({"num_in_stock": F.floor(in_stock).cast("bigint"), **flags})


def contact_permissions(spark: SparkSession, path: str) -> DataFrame:
    """One row per customer and channel of the file: `customer_id` as the log writes it, `channel` in small letters, `is_allowed`.

    Raises `SourceError` for a file that is missing or lacks a column, and for the first row that cannot be used.
    """
    rows = _rows(spark, path, needed=("customer_id", "channel", "is_allowed")).withColumn("channel", F.lower("channel"))
    is_said = F.col("is_allowed").isNotNull() & _is_flag("is_allowed")
    _check(rows, path, key=("customer_id", "channel"), rules={"expected is_allowed to be true or false": is_said})
    return rows.withColumn("is_allowed", F.lower("is_allowed").isin(*YES))


def _rows(spark: SparkSession, path: str, *, needed: Sequence[str], optional: Sequence[str] = ()) -> DataFrame:
    """The file's columns as trimmed text, null where empty; those that it may lack are null throughout."""
    url = files.as_url(path)
    if not files.exists(url):
        raise SourceError(
            f"{path} is missing: expected a CSV file with a header, or Parquet; check the shop_facts settings"
        )
    reader = spark.read.option("header", True)
    try:
        found = spark.read.parquet(literal(url)) if url.endswith(".parquet") else reader.csv(literal(url))
    except (Py4JJavaError, PySparkException) as error:
        raise SourceError(
            f"{path} cannot be read: {in_a_line(error)}; expected a CSV file with a header, or Parquet"
        ) from None
    names = {name.strip("\ufeff ").lower(): name for name in found.columns}
    missing = [name for name in needed if name not in names]
    if missing:
        raise SourceError(
            f"{path} lacks {', '.join(missing)}: expected columns {', '.join((*needed, *optional))}, came "
            f"{', '.join(found.columns)}; name its columns so"
        )
    if optional and not any(name in names for name in optional):
        raise SourceError(
            f"{path} tells nothing of {needed[0]}: expected one of the columns {', '.join(optional)}, came "
            f"{', '.join(found.columns)}; name its columns so"
        )
    unread = [column for name, column in names.items() if name not in (*needed, *optional)]
    if unread:
        log.warning(
            "%s: columns that nothing reads: %s; read are %s", path, ", ".join(unread), ", ".join((*needed, *optional))
        )
    columns = {name: F.trim(F.col(f"`{names[name]}`").cast("string")) for name in (*needed, *optional) if name in names}
    absent = {name: F.lit(None).cast("string") for name in optional if name not in names}
    return found.select(*(F.when(text != "", text).alias(name) for name, text in columns.items())).withColumns(absent)


def _is_flag(name: str) -> Column:
    return F.col(name).isNull() | F.lower(name).isin(*YES, *NO)


def _check(rows: DataFrame, path: str, *, key: Sequence[str], rules: Mapping[str, Column]) -> None:
    """Raise for the first row that breaks a rule, or that has an empty or repeated key."""
    named = {f"expected {name} in every row": F.col(name).isNotNull() for name in key}
    broken = F.coalesce(*(F.when(~rule, F.lit(words)) for words, rule in {**named, **rules}.items()))
    found = rows.withColumn("_problem", broken).where(F.col("_problem").isNotNull()).head()
    if found is not None:
        example = {name: value for name, value in found.asDict().items() if name != "_problem"}
        raise SourceError(f"{path}: {found['_problem']}; nothing was written: correct the file", example=str(example))
    twice = rows.groupBy(*key).count().where("count > 1").head()
    if twice is not None:
        example = {name: twice[name] for name in key}
        raise SourceError(
            f"{path}: expected one row per {' and '.join(key)}, came {twice['count']} for one; nothing was written: "
            "keep the one that holds",
            example=str(example),
        )
