"""features, stages, segments, scores, recommendations -> customer_profiles: all that people ask first, a row a customer."""

from clm_spark.job import main
from clm_spark.models.made_days import check_made
from clm_spark.report.profiles import customer_profiles
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, CUSTOMER_PROFILES
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the profiles of as_of."""
    check_made(lake, CUSTOMER_FEATURES)
    lake.replace(customer_profiles(lake), into=CUSTOMER_PROFILES, as_of=settings.as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
