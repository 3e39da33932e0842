"""When the shop is busy: hour of the day, day of the week and time of the year."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from clm_spark.demo.arrays import Numbers, Reals
from clm_spark.demo.parameters import Shop

HOURS = 24
DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Seasons:
    """Seasonal time: it runs faster than the clock when the shop is busy, and as fast over a whole year.

    In seasonal time visits are a plain Poisson process.
    """

    passed_by_hour: Reals  # seasonal days from the start to the beginning of each hour
    month_by_day: Numbers  # 0 is January

    def passed(self, day: Reals) -> Reals:
        """Seasonal days from the start to a time given in days."""
        return np.interp(day * HOURS, np.arange(len(self.passed_by_hour)), self.passed_by_hour)

    def day_at(self, passed: Reals) -> Reals:
        """The time, in days from the start, by which so many seasonal days have passed."""
        return np.interp(passed, self.passed_by_hour, np.arange(len(self.passed_by_hour))) / HOURS

    def month(self, day: Reals) -> Numbers:
        """The month of a time given in days, 0 for January."""
        return self.month_by_day[day.astype(np.int64)]


def seasons_of(shop: Shop) -> Seasons:
    """The shop's seasons over its days."""
    laws = shop.parameters
    dates = [shop.start_on + timedelta(days=day) for day in range(shop.days)]
    weekdays = _mean_one(laws.weekday_weights)[[date.weekday() for date in dates]]
    day_of_year = np.array([date.timetuple().tm_yday for date in dates])
    angle = 2 * np.pi * (day_of_year - laws.yearly_peak_day) / DAYS_A_YEAR
    busy_by_day = weekdays * (1 + laws.yearly_swing * np.cos(angle))
    busy_by_hour = np.outer(busy_by_day, _mean_one(laws.hour_weights)).ravel() / HOURS
    return Seasons(
        passed_by_hour=np.concatenate([[0.0], np.cumsum(busy_by_hour)]),
        month_by_day=np.array([date.month - 1 for date in dates]),
    )


def _mean_one(weights: tuple[float, ...]) -> Reals:
    return np.array(weights) * len(weights) / sum(weights)
