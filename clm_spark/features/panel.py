"""The as_of dates of the past that models are trained and tested on."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.settings import Settings


def panel_days(settings: Settings) -> list[date]:
    """The run's as_of and those before it, latest first."""
    if settings.features.as_of_alone:
        return [settings.as_of]
    step = timedelta(days=settings.features.panel_every_days)
    size = min(settings.features.panel_size, (settings.as_of - date.min) // step + 1)  # the calendar begins somewhere
    return [settings.as_of - step * back for back in range(size)]


def asked_days(settings: Settings) -> list[date]:
    """The as_of dates of the panel in the settings; all their labels are known by the run's as_of.

    Raises `SettingsError` where there is none, or where the horizon of one has not ended by then.
    """
    asked, as_of = settings.panel, settings.as_of
    first, last = asked.first_on or as_of, asked.last_on or as_of
    answered = as_of - timedelta(days=asked.gap_days + asked.horizon_days)
    if not first <= last <= answered:
        raise SettingsError(
            f"no panel from {first} to {last}: expected the first day not after the last, and the last not after {answered}, "
            f"from which on {asked.gap_days} days of gap and {asked.horizon_days} of horizon end after as_of {as_of}; "
            "give an earlier --to, a later --as-of or a shorter --horizon"
        )
    return [first + timedelta(days=step) for step in range(0, (last - first).days + 1, asked.every_days)]


def item_days(settings: Settings) -> list[date]:
    """The as_of dates for features of items and pairs: those of the recommenders."""
    return [settings.as_of] if settings.features.as_of_alone else recommender_days(settings)


def recommender_days(settings: Settings) -> list[date]:
    """The run's as_of, and the earlier one that the recommenders' test starts from."""
    return [settings.as_of, tested_from(settings)]


def tested_from(settings: Settings) -> date:
    """The as_of of the recommenders' test."""
    return settings.as_of - timedelta(days=settings.recommend.test_days)


def at_each(rows: DataFrame, days: Sequence[date]) -> DataFrame:
    """Repeat every row for each day, in column `as_of`. The caller filters what each as_of may see."""
    if len(days) == 1:
        return rows.withColumn("as_of", F.lit(days[0]))
    return rows.withColumn("as_of", F.explode(F.array(*map(F.lit, days))))
