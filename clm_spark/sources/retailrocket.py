"""Retailrocket: the published `events.csv`, and the views (TSV) and samples (Parquet) that were cut from it."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError
from clm_spark.sources.source import Source, json_record, read_lines, read_rows, translated, with_fields
from clm_spark.sources.text import FirstLine

EVENTS_HEADER = "timestamp,visitorid,event,itemid,transactionid"  # milliseconds since 1970
VIEWS_HEADER = "timestamp\tuser_id\titem_id\tsession_id"  # seconds since 1970
ROW_COLUMNS = ("timestamp", "visitorid", "event", "itemid", "transactionid")
KINDS = {"addtocart": "cart", "transaction": "purchase", "0": "view", "1": "cart", "2": "purchase"}


class Retailrocket(Source):
    """Views, carts and purchases without prices; the form of a record shows which of the three files it is from."""

    name = "retailrocket"
    time_format = "epoch_ms"
    time_zone = "UTC"
    # Beside events.csv the published folder holds other tables.
    file_endings = ("events.csv", "events.csv.gz", ".tsv", ".tsv.gz", ".parquet")

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """One row per line or Parquet row.

        Raises `SourceError` for files of more than one form: visitor numbers differ between forms.
        """
        forms = sorted({ending for file in files for ending in (".csv", ".tsv", ".parquet") if ending in file})
        if len(forms) > 1:
            raise SourceError(
                f"files of {' and '.join(forms)} lie together: visitor numbers differ between the forms of the "
                "Retailrocket log, so ingest one only; set ingest.path to a file"
            )
        if forms == [".parquet"]:
            return read_rows(spark, files, columns=[(name,) for name in ROW_COLUMNS])
        return read_lines(spark, files, first_line=FirstLine(headers=(EVENTS_HEADER, VIEWS_HEADER)))

    def fields(self, raw: DataFrame) -> DataFrame:
        """Each record as an event."""
        record = F.col("record")
        is_row, is_view = record.startswith("{"), record.contains("\t")
        parts = raw.withColumn("cells", F.split(record, "[,\t]", -1)).withColumn(
            "row", F.when(is_row, json_record([*ROW_COLUMNS, "session_id"]))
        )

        def cell(place: int, *, row: str) -> Column:
            return F.when(is_row, F.col(f"row.{row}")).otherwise(F.get("cells", F.lit(place)))

        # The Parquet sample holds times, not numbers.
        row_ms = F.unix_millis(F.col("row.timestamp").try_cast("timestamp")).cast("string")
        moment = F.get("cells", F.lit(0))
        lengths = F.when(is_view, F.size("cells") == 4).otherwise(F.size("cells") == 5)
        return with_fields(
            parts,
            {
                "customer_id": cell(1, row="visitorid"),
                "occurred_at": F.when(is_row, row_ms).when(is_view, F.concat(moment, F.lit("000"))).otherwise(moment),
                "kind": F.when(is_view, "view").otherwise(translated(cell(2, row="event"), KINDS)),
                "item_id": F.when(is_view, F.get("cells", F.lit(2))).otherwise(cell(3, row="itemid")),
                "order_id": F.when(~is_view, cell(4, row="transactionid")),
                "source_session_id": F.when(is_view, F.get("cells", F.lit(3))).otherwise(F.col("row.session_id")),
            },
            is_parsable=F.when(is_row, F.col("row._corrupt").isNull()).otherwise(lengths),
        )
