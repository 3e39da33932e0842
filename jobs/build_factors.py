"""customer_features, factor_loadings -> factor_loadings, customer_factors: habits that go together, and every customer's."""

from pyspark.sql import functions as F

from clm_spark.job import main
from clm_spark.models.factors.tables import customer_scores, factors_for, loadings_of
from clm_spark.models.made_days import check_made
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FACTORS, CUSTOMER_FEATURES, FACTOR_LOADINGS
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the factors of as_of, fitted or still in use, and the scores; none of too few customers."""
    check_made(lake, CUSTOMER_FEATURES)
    customers, as_of = lake.read_as_of(CUSTOMER_FEATURES), settings.as_of
    before = lake.read(FACTOR_LOADINGS).where(F.col("as_of") < F.lit(as_of)) if lake.exists(FACTOR_LOADINGS) else None
    found = factors_for(customers, before, as_of=as_of, settings=settings.factors)
    loadings = loadings_of(lake.spark, found, as_of=as_of)
    scores = customer_scores(customers, found.factors if found else None).withColumn("as_of", F.lit(as_of))
    lake.replace(loadings, into=FACTOR_LOADINGS, as_of=as_of)
    lake.replace(scores.select(CUSTOMER_FACTORS.schema.names), into=CUSTOMER_FACTORS, as_of=as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
