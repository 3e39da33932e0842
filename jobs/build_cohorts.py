"""customer_days -> cohorts: customers by the month of their first purchase, and what they did in each month since."""

from clm_spark.job import main
from clm_spark.lifecycle.cohorts import update_cohorts
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the cohorts as of the first of the month, once a month."""
    update_cohorts(lake)


if __name__ == "__main__":
    raise SystemExit(main(run))
