"""REES46, "eCommerce behavior data from multi category store": the CSV that most public shop logs are published in."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.sources.source import Source, read_lines, translated, with_fields
from clm_spark.sources.text import CORRUPT, CSV_ENDINGS, FirstLine, cell_name, with_cells

HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"
COLUMNS = tuple(HEADER.split(","))


class Rees46(Source):
    """Views, carts and purchases, a line each.

    A purchase names no basket: the visit it was made in stands for it.
    """

    name = "rees46"
    time_format = "yyyy-MM-dd HH:mm:ss 'UTC'"
    time_zone = "UTC"
    file_endings = CSV_ENDINGS

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per line below the header."""
        return read_lines(
            spark, files, first_line=FirstLine(headers=(HEADER,), needed=tuple((name,) for name in COLUMNS))
        )

    def fields(self, raw: DataFrame) -> DataFrame:
        """Each line as an event; a line with too few or too many columns is not parsable."""
        named = (F.col("cells")[cell_name(n)].alias(name) for n, name in enumerate(COLUMNS))
        cells = with_cells(raw, COLUMNS).select(*raw.columns, "extra", *named, f"cells.{CORRUPT}")
        return with_fields(
            cells,
            {
                "customer_id": F.col("user_id"),
                "occurred_at": F.col("event_time"),
                "kind": translated(F.col("event_type"), {"remove_from_cart": "uncart"}),
                "item_id": F.col("product_id"),
                "category": F.col("category_code"),
                "brand": F.col("brand"),
                "price": F.col("price"),
                "order_id": F.when(F.col("event_type") == "purchase", F.col("user_session")),
                "source_session_id": F.col("user_session"),
            },
            is_parsable=F.col(CORRUPT).isNull(),
            attributes={"category_id": F.col("category_id")},
            extra=F.col("extra"),
        )
