"""The days in the past that models train and are tested on."""

from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.config import Settings


def panel_days(settings: Settings) -> list[date]:
    """The run's as_of and those before it, latest first."""
    step = timedelta(days=settings.features.panel_every_days)
    return [settings.as_of - step * back for back in range(settings.features.panel_size)]


def recommender_days(settings: Settings) -> list[date]:
    """The run's as_of, and the one from which recommenders are tested on the days until it."""
    return [settings.as_of, tested_from(settings)]


def tested_from(settings: Settings) -> date:
    """The as_of of the recommenders' test."""
    return settings.as_of - timedelta(days=settings.recommend.test_days)


def at_each(rows: DataFrame, days: Sequence[date]) -> DataFrame:
    """Every row once for each day, in column `as_of`. What a day may see of them is for the caller to filter."""
    return rows.withColumn("as_of", F.explode(F.array(*map(F.lit, days))))
