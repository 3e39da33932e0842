"""events, identities, bot_days -> funnel: how far yesterday's visits went, by channel and device."""

from clm_spark.job import main
from clm_spark.lifecycle.funnel import funnel, visits_of_yesterday
from clm_spark.settings import Settings
from clm_spark.tables.catalog import FUNNEL
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write the funnel of the day before as_of."""
    lake.replace(funnel(visits_of_yesterday(lake)), into=FUNNEL, is_key_proven=True, as_of=settings.as_of)


if __name__ == "__main__":
    raise SystemExit(main(run))
