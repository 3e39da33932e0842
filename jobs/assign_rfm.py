"""customer_features -> rfm_scores: recency, frequency and money of every customer who ever bought, and the cell they make."""

from clm_spark.job import main
from clm_spark.lifecycle.rfm import rfm_scores
from clm_spark.models.made_days import check_made
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, RFM_SCORES
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the scores of as_of."""
    check_made(lake, CUSTOMER_FEATURES)
    rows = rfm_scores(lake.read_as_of(CUSTOMER_FEATURES), settings=settings.rfm)
    lake.replace(rows, into=RFM_SCORES, is_key_proven=True, as_of=settings.as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
