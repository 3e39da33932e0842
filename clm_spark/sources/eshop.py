"""UCI "clickstream data for online shopping": every click in a maternity-clothes shop in 2008."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.sources.source import Source, read_lines, translated, with_fields
from clm_spark.sources.text import CORRUPT, CSV_ENDINGS, FirstLine, csv_record

HEADER = (
    "year;month;day;order;country;session ID;page 1 (main category);page 2 (clothing model);colour;location;"
    "model photography;price;price 2;page"
)
CATEGORIES = {"1": "trousers", "2": "skirts", "3": "blouses", "4": "sale"}
ATTRIBUTES = ("country", "colour", "location", "model photography", "price 2", "page")


class Eshop(Source):
    """Views; the log names no customers, so a visit stands for its customer, and its raw number stays in bronze.

    Times are to the day: the n-th click of a visit is put n seconds after midnight, so that order holds.
    """

    name = "eshop"
    time_format = "iso"
    time_zone = "UTC"
    file_endings = CSV_ENDINGS

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per click."""
        return read_lines(spark, files, first_line=FirstLine(headers=(HEADER,)))

    def fields(self, raw: DataFrame) -> DataFrame:
        """Each click as a view of a clothing model."""
        row = csv_record(HEADER.split(";"), separator=";")
        cells = raw.withColumn("cells", row).select(*raw.columns, "cells.*")
        day = F.concat("year", F.lit("-"), "month", F.lit("-"), "day").try_cast("timestamp")
        clicked_at = F.timestamp_add("SECOND", F.col("order").try_cast("int"), day)
        return with_fields(
            cells,
            {
                "customer_id": F.col("session ID"),
                "occurred_at": clicked_at,
                "kind": F.lit("view"),
                "item_id": F.col("page 2 (clothing model)"),
                "category": translated(F.col("page 1 (main category)"), CATEGORIES),
                "price": F.col("price"),
            },
            is_parsable=F.col(CORRUPT).isNull(),
            attributes={name.replace(" ", "_"): F.col(name) for name in ATTRIBUTES},
        )
