"""When each customer of the synthetic shop visits, which visits buy, and when the customer drops out."""

from dataclasses import dataclass

import numpy as np

from clm_spark.demo.arrays import Marks, Numbers, Reals
from clm_spark.demo.parameters import Shop
from clm_spark.demo.people import DEVICES, Campaigns, People, buying_factors, treated_by
from clm_spark.demo.seasons import Seasons

CHANNELS = ("direct", "search", "ads", "social", "email")
CHANNEL_SHARES = (0.4, 0.3, 0.15, 0.1, 0.05)
EMAIL = CHANNELS.index("email")
OTHER_DEVICE_SHARE = 0.2
LONGEST_SHARE = 0.9  # of the time to the customer's next visit: visits do not overlap
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Visits:
    """The visits of a block of customers, by customer and time. Days count from the start of the log."""

    customer: Numbers  # position in the block
    number: Numbers  # 1, 2, ... for each customer
    from_day: Reals
    to_day: Reals
    buys: Marks
    campaign: Numbers  # running then and sent to the customer; -1: none
    has_coupon: Marks
    num_looks: Numbers
    device: Numbers
    channel: Numbers
    # One entry per customer, NaN where the customer was still there at the end.
    dropout_day: Reals


def visits_of(people: People, campaigns: Campaigns, seasons: Seasons, *, shop: Shop, block: int) -> Visits:
    """Visits until the customer drops out or the log ends.

    Visits are a Poisson process in seasonal time, each buys with a fixed chance that campaigns change, and after each
    purchase but the first ever the customer leaves with the customer's own chance: BG/NBD (Fader, Hardie, Lee 2005).
    """
    laws, draws = shop.parameters, shop.stream("visits", block)
    customer, from_day, is_first = _arrivals(people, seasons, shop=shop, draws=draws)
    size = len(customer)

    campaign = _campaign_of(customer, from_day, campaigns, treated_by(people, campaigns, shop=shop, block=block))
    factors = np.append(buying_factors(people, campaigns), np.ones((len(people.number), 1)), axis=1)
    usual = np.where(is_first, laws.first_visit_buy_share, laws.buy_share)
    buys = draws.random(size) < usual * factors[customer, campaign]

    is_old = (people.joined_day < 0)[customer]
    is_repeat = buys & (is_old | (_count_before(buys, customer) > 0))
    leaves = is_repeat & (draws.random(size) < people.dropout_chance[customer])
    num_looks = 1 + draws.poisson(laws.looks_per_visit - 1, size)
    seconds = (num_looks + 1) * laws.seconds_per_look * draws.gamma(2.0, 0.5, size)
    has_coupon = buys & (campaign >= 0) & (draws.random(size) < laws.coupon_share)
    device = np.where(
        draws.random(size) < OTHER_DEVICE_SHARE, draws.integers(len(DEVICES), size=size), people.device[customer]
    )
    channel = np.where(has_coupon, EMAIL, draws.choice(len(CHANNELS), size, p=CHANNEL_SHARES))

    is_there = _count_before(leaves, customer) == 0
    customer, from_day, leaves = customer[is_there], from_day[is_there], leaves[is_there]
    is_last = np.append(customer[1:] != customer[:-1], True)[: len(customer)]
    next_day = np.where(is_last, shop.days, np.append(from_day[1:], shop.days)[: len(customer)])
    longest = LONGEST_SHARE * (next_day - from_day)
    to_day = from_day + np.minimum(seconds[is_there] / SECONDS_A_DAY, longest)
    dropout_day = np.full(len(people.number), np.nan)
    dropout_day[customer[leaves]] = to_day[leaves]
    return Visits(
        customer=customer,
        number=1 + _count_before(np.ones(len(customer), np.bool_), customer),
        from_day=from_day,
        to_day=to_day,
        buys=buys[is_there],
        campaign=campaign[is_there],
        has_coupon=has_coupon[is_there],
        num_looks=num_looks[is_there],
        device=device[is_there],
        channel=channel[is_there],
        dropout_day=dropout_day,
    )


def _arrivals(
    people: People, seasons: Seasons, *, shop: Shop, draws: np.random.Generator
) -> tuple[Numbers, Reals, Marks]:
    """Customer, time and whether it is the first ever, by customer and time, as if nobody dropped out."""
    begins = seasons.passed(np.maximum(people.joined_day, 0))
    lasts = seasons.passed(np.array([float(shop.days)])) - begins
    again = np.repeat(np.arange(len(people.number)), draws.poisson(people.visits_per_day * lasts))
    times = seasons.day_at(begins[again] + draws.random(len(again)) * lasts[again])
    new = np.flatnonzero(people.joined_day >= 0)  # who joins does so by a visit
    customer = np.concatenate([new, again])
    from_day = np.concatenate([people.joined_day[new], times])
    order = np.lexsort((from_day, customer))
    return customer[order], np.minimum(from_day[order], np.nextafter(shop.days, 0)), order < len(new)


def _campaign_of(customer: Numbers, day: Reals, campaigns: Campaigns, treated: Marks) -> Numbers:
    running = campaigns.running(day)
    is_sent = np.append(treated, np.zeros((len(treated), 1), np.bool_), axis=1)[customer, running]
    return np.where(is_sent, running, -1)


def _count_before(marks: Marks, customer: Numbers) -> Numbers:
    """How many marks the same customer has on earlier visits."""
    before: Numbers = np.cumsum(marks) - marks
    first = np.searchsorted(customer, customer)
    return before - before[first]
