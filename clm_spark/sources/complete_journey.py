"""The Complete Journey (84.51 degrees, CC0): one year of a grocery chain's loyalty card, as Parquet files."""

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SourceError
from clm_spark.sources.paths import literal
from clm_spark.sources.source import CORRUPT, Source, json_record, list_files, read_rows, with_fields

# What happened to whom; campaign_descriptions and products only describe.
COLUMNS = {
    "transactions.parquet": (
        "household_id",
        "store_id",
        "basket_id",
        "product_id",
        "quantity",
        "sales_value",
        "retail_disc",
        "coupon_disc",
        "coupon_match_disc",
        "transaction_timestamp",
    ),
    "campaigns.parquet": ("household_id", "campaign_id"),
    "coupon_redemptions.parquet": ("household_id", "coupon_upc", "campaign_id", "redemption_date"),
}
DESCRIBING = ("products.parquet", "campaign_descriptions.parquet")


class CompleteJourney(Source):
    """Purchases, campaigns received and coupons redeemed.

    A campaign is received on its start date; a line's category and brand come from the product file.
    """

    name = "complete_journey"
    time_format = "iso"
    time_zone = "UTC"
    file_endings = tuple(COLUMNS)

    def __init__(self, path: str) -> None:
        self.path = path.rstrip("/")

    def read(self, spark: SparkSession, files: Sequence[str]) -> DataFrame:
        """Rows of the three event files as JSON."""
        for name in DESCRIBING:
            list_files(spark, f"{self.path}/{name}", endings=(name,))
        for file in files:
            _check_columns(spark, file)
        return reduce(DataFrame.union, (read_rows(spark, [file]) for file in files))

    def fields(self, raw: DataFrame) -> DataFrame:
        """Every record as a purchase, a campaign sent or a coupon redeemed, by the file it stands in."""
        names = sorted({name for columns in COLUMNS.values() for name in columns})
        rows = raw.withColumn("row", json_record(names)).select(*raw.columns, "row.*")
        described = rows.join(F.broadcast(self._products(raw.sparkSession)), on="product_id", how="left").join(
            F.broadcast(self._campaigns(raw.sparkSession)), on="campaign_id", how="left"
        )
        kind = (
            F.when(F.col("file").endswith("transactions.parquet"), "purchase")
            .when(F.col("file").endswith("campaigns.parquet"), "campaign_sent")
            .when(F.col("file").endswith("coupon_redemptions.parquet"), "coupon_redeemed")
        )
        discounts = [
            F.col(name).try_cast("decimal(12,4)") for name in ("retail_disc", "coupon_disc", "coupon_match_disc")
        ]
        return with_fields(
            described,
            {
                "customer_id": F.col("household_id"),
                "occurred_at": F.coalesce("transaction_timestamp", "redemption_date", "start_date"),
                "kind": kind,
                "item_id": F.col("product_id"),
                "category": F.col("product_category"),
                "brand": F.col("brand"),
                "quantity": F.col("quantity"),
                "amount": F.col("sales_value"),
                "discount": discounts[0] + discounts[1] + discounts[2],
                "order_id": F.col("basket_id"),
                "campaign_id": F.col("campaign_id"),
            },
            is_parsable=F.col(CORRUPT).isNull() & F.col("record").isNotNull(),
            attributes={
                "store_id": F.col("store_id"),
                "coupon_upc": F.col("coupon_upc"),
                "campaign_type": F.col("campaign_type"),
            },
        )

    def _products(self, spark: SparkSession) -> DataFrame:
        products = spark.read.parquet(literal(f"{self.path}/products.parquet"))
        return products.select(F.col("product_id").cast("string"), "product_category", "brand")

    def _campaigns(self, spark: SparkSession) -> DataFrame:
        campaigns = spark.read.parquet(literal(f"{self.path}/campaign_descriptions.parquet"))
        return campaigns.select(
            F.col("campaign_id").cast("string"), "campaign_type", F.col("start_date").cast("string")
        )


def _check_columns(spark: SparkSession, file: str) -> None:
    expected = next((columns for ending, columns in COLUMNS.items() if file.endswith(ending)), ())
    came = spark.read.parquet(literal(file)).columns
    missing = [name for name in expected if name not in came]
    if missing:
        raise SourceError(
            f"{file} is of another format: expected columns {', '.join(expected)}; {', '.join(missing)} not among "
            f"{', '.join(came)}; check ingest.source"
        )
