"""Who comes to the synthetic shop, and the campaigns it sends them."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from clm_spark.demo.arrays import Marks, Numbers, Reals
from clm_spark.demo.parameters import Shop
from clm_spark.demo.seasons import Seasons

RESPONSES = ("indifferent", "responder", "annoyed")
INDIFFERENT, RESPONDER, ANNOYED = range(3)
ANNOYANCE = 0.5  # what a campaign's uplift is turned into for the annoyed, below zero
DEVICES = ("phone", "desktop", "tablet")
DEVICE_SHARES = (0.6, 0.3, 0.1)
SENSITIVITY_SPREAD = 0.5  # standard deviation of log sensitivity
DAYS_BEFORE = 365  # how long ago the oldest customers may have joined
DAYS_TO_FIRST_CAMPAIGN = 7
SENT_AT = 0.25  # of the day: six in the morning


@dataclass(frozen=True)
class People:
    """A block of customers, each as they truly are."""

    number: Numbers
    joined_day: Reals  # days from the start; below 0: before the log begins
    visits_per_day: Reals
    dropout_chance: Reals  # after each purchase but the first ever
    taste: Reals  # [customer, category], sums to 1
    price_sensitivity: Reals
    response: Numbers  # which of RESPONSES
    device: Numbers  # the one mostly used


@dataclass(frozen=True)
class Campaigns:
    """All campaigns in the order of time; they do not overlap."""

    from_day: Reals
    to_day: Reals  # exclusive
    uplift: Reals

    def running(self, day: Reals) -> Numbers:
        """Which campaign runs at a time, -1 for none."""
        last = np.searchsorted(self.from_day, day, side="right") - 1
        ends = np.append(self.to_day, -np.inf)  # found by -1: none has begun
        return np.where(day < ends[last], last, -1)


def people_of(shop: Shop, seasons: Seasons, block: int) -> People:
    """The customers of one block."""
    laws, draws = shop.parameters, shop.stream("people", block)
    first = block * shop.customers_per_block
    number = np.arange(first, min(first + shop.customers_per_block, shop.customers))
    size = len(number)
    is_old, joining = draws.random(size) < laws.joined_before_share, draws.random(size)
    newly = seasons.day_at(joining * seasons.passed_by_hour[-1])
    taste = np.maximum(draws.gamma(laws.taste_concentration, size=(size, len(laws.categories))), 1e-12)
    leaning = draws.standard_normal(size)
    return People(
        number=number,
        joined_day=np.where(is_old, -DAYS_BEFORE * (1 - joining), newly),
        visits_per_day=draws.gamma(laws.visit_rate_shape, laws.visits_per_day / laws.visit_rate_shape, size),
        dropout_chance=draws.beta(laws.dropout_a, laws.dropout_b, size),
        taste=taste / taste.sum(axis=1, keepdims=True),
        price_sensitivity=laws.price_sensitivity * np.exp(SENSITIVITY_SPREAD * leaning - SENSITIVITY_SPREAD**2 / 2),
        response=_responses(shop, leaning, draws.standard_normal(size)),
        device=draws.choice(len(DEVICES), size, p=DEVICE_SHARES),
    )


def campaigns_of(shop: Shop) -> Campaigns:
    """The campaigns that end within the shop's days."""
    laws = shop.parameters
    starts = np.arange(DAYS_TO_FIRST_CAMPAIGN, shop.days - laws.campaign_days + 1, laws.campaign_every_days)
    uplift = shop.stream("campaigns").uniform(laws.uplift_from, laws.uplift_to, len(starts))
    return Campaigns(starts + SENT_AT, starts + float(laws.campaign_days), uplift)


def treated_by(people: People, campaigns: Campaigns, *, shop: Shop, block: int) -> Marks:
    """[customer, campaign]: drawn by lot among those who had joined by then; the others are the control group."""
    draws = shop.stream("treatment", block)
    is_customer = people.joined_day[:, None] < campaigns.from_day
    return is_customer & (draws.random(is_customer.shape) < shop.parameters.treated_share)


def buying_factors(people: People, campaigns: Campaigns) -> Reals:
    """[customer, campaign]: what a campaign does to the chance that a visit of the treated customer buys."""
    effect = np.array([0.0, 1.0, -ANNOYANCE])  # in the order of RESPONSES
    return np.maximum(0, 1 + effect[people.response][:, None] * campaigns.uplift)


def _responses(shop: Shop, leaning: Reals, luck: Reals) -> Numbers:
    # Those who mind prices respond more often: a model can find them.
    inclination = (leaning + luck) / np.sqrt(2)
    responders, annoyed = shop.parameters.responders_share, shop.parameters.annoyed_share
    is_responder = inclination > _normal_quantile(1 - responders)
    is_annoyed = inclination < _normal_quantile(annoyed)
    return np.select([is_responder, is_annoyed], [RESPONDER, ANNOYED], INDIFFERENT)


def _normal_quantile(share: float) -> float:
    return NormalDist().inv_cdf(share) if 0 < share < 1 else (share - 0.5) * np.inf
