"""Yoochoose (RecSys Challenge 2015): clicks and buys without headers, and clicks with times as TSV."""

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.sources.source import Source, read_lines, with_fields
from clm_spark.sources.text import FirstLine

FIRST_LINE = FirstLine(
    headers=("SessionId\tItemId\tTime",),
    pattern=r"\d+,\d{4}-\d{2}-\d{2}T[\d:.]+Z,\d+,\w+(,\d+)?$",
    example="1,2014-04-07T10:51:09.277Z,214536502,0",
)


class Yoochoose(Source):
    """Views and purchases; the log names no customers, so a visit stands for its customer and for its basket.

    A price or quantity of 0 means unknown. What a click was made in the context of is `S` (special offer), a category
    from 1 to 12, or a brand; 0 means unknown.
    """

    name = "yoochoose"
    time_format = "iso"
    time_zone = "UTC"
    file_endings = (".dat", ".dat.gz", ".tsv", ".tsv.gz", ".txt.gz")

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per line of clicks and buys."""
        return read_lines(spark, files, first_line=FIRST_LINE)

    def fields(self, raw: DataFrame) -> DataFrame:
        """Each line as an event: a buy has five columns, a click four or, as TSV, three."""
        cells = raw.withColumn("cells", F.split("record", "[,\t]", -1))
        session, second, third, context, quantity = (F.get("cells", F.lit(place)) for place in range(5))
        is_tsv, is_buy = F.col("record").contains("\t"), F.size("cells") == 5
        seconds = F.timestamp_seconds(third.try_cast("decimal(18,6)")).cast("string")
        is_category = (context == "S") | context.try_cast("int").between(1, 12)
        return with_fields(
            cells,
            {
                "customer_id": session,
                "occurred_at": F.when(is_tsv, seconds).otherwise(second),
                "kind": F.when(is_buy, "purchase").otherwise("view"),
                "item_id": F.when(is_tsv, second).otherwise(third),
                "category": F.when(~is_buy & is_category, context),
                "brand": F.when(~is_buy & ~is_category & (context != "0"), context),
                "price": F.when(is_buy & (context != "0"), context),
                "quantity": F.when(quantity != "0", quantity),
                "order_id": F.when(is_buy, session),
                "source_session_id": session,
            },
            is_parsable=F.when(is_tsv, F.size("cells") == 3).otherwise(F.size("cells").isin(4, 5)),
        )
