"""What customers of the synthetic shop do in a visit and after it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from clm_spark.demo.arrays import Marks, Numbers, Reals
from clm_spark.demo.catalogue import Items
from clm_spark.demo.parameters import Shop
from clm_spark.demo.people import Campaigns, People
from clm_spark.demo.seasons import Seasons
from clm_spark.demo.visits import Visits
from clm_spark.tables.catalog import EVENT_KINDS

ABSENT = -1
KIND = {name: code for code, name in enumerate(EVENT_KINDS)}
# When in its slot of the visit a thing happens: the visit has one slot per look and one to check out.
SLOT = {"search": 0.0, "impression": 0.15, "view": 0.3, "cart": 0.55, "uncart": 0.8}
COUPON_SLOT, CHECKOUT_SLOT, JITTER = 0.3, 0.6, 0.1
EXTRA_UNITS = 0.2
RATING_SHARES = (0.04, 0.06, 0.1, 0.3, 0.5)  # one to five stars


@dataclass(frozen=True)
class Clicks:
    """Events of a block of customers, one per position; -1 where an event has no such thing."""

    kind: Numbers  # which of EVENT_KINDS
    customer: Numbers  # position in the block
    day: Reals  # from the start of the log
    visit: Numbers
    item: Numbers
    category: Numbers
    quantity: Numbers
    amount_cents: Numbers
    discount_cents: Numbers
    order: Numbers  # the visit it was bought in
    campaign: Numbers
    hit: Numbers  # number of the event in its visit; of refunds and reviews: that of the purchase
    rating: Numbers

    def take(self, chosen: Numbers | Marks) -> "Clicks":
        """The chosen events, by position or mark."""
        return Clicks(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


@dataclass(frozen=True)
class Looks:
    """Items that customers came across, by visit and order."""

    visit: Numbers
    number: Numbers  # 0, 1, ... in the visit
    category: Numbers
    item: Numbers
    quantity: Numbers  # units that would be taken
    jitter: Reals
    is_viewed: Marks
    is_bought: Marks


def clicks_of(
    people: People,
    visits: Visits,
    treated: Marks,
    *,
    items: Items,
    campaigns: Campaigns,
    seasons: Seasons,
    shop: Shop,
    block: int,
) -> Clicks:
    """Every event of a block of customers in the order of time."""
    draws = shop.stream("clicks", block)
    looks = _looks(people, visits, items, seasons, shop=shop, draws=draws)
    in_visits = _with_hits(
        _stacked([*_browsing(looks, visits, shop, draws), *_checkouts(looks, visits, items, shop, draws)])
    )
    bought = in_visits.take(in_visits.kind == KIND["purchase"])
    later = _stacked([*_aftermath(bought, shop, draws), _campaigns_sent(campaigns, treated)])
    clicks = _stacked([in_visits, later.take(later.day < shop.days)])
    return clicks.take(np.argsort(clicks.day, kind="stable"))


def _looks(
    people: People, visits: Visits, items: Items, seasons: Seasons, *, shop: Shop, draws: np.random.Generator
) -> Looks:
    laws = shop.parameters
    visit = np.repeat(np.arange(len(visits.customer)), visits.num_looks)
    size = len(visit)
    number = np.arange(size) - np.repeat(np.cumsum(visits.num_looks) - visits.num_looks, visits.num_looks)
    month = seasons.month(visits.from_day)
    appeal = np.cumsum(people.taste[visits.customer] * items.category_season[month], axis=1)
    category = (draws.random(size)[:, None] * appeal[visit, -1:] > appeal[visit, :-1]).sum(axis=1)
    item = items.drawn(category, month[visit], draws.random(size))

    elasticity = people.price_sensitivity[visits.customer[visit]]
    is_liked = draws.random(size) < laws.view_share * items.relative_price[item] ** -elasticity
    # A visit that buys ends with what it came for.
    is_wanted = visits.buys[visit] & (number == visits.num_looks[visit] - 1)
    is_extra = visits.buys[visit] & is_liked & (draws.random(size) < laws.extra_line_share)
    return Looks(
        visit=visit,
        number=number,
        category=category,
        item=item,
        quantity=1 + draws.poisson(EXTRA_UNITS, size),
        jitter=JITTER * draws.random(size),
        is_viewed=is_liked | is_wanted,
        is_bought=is_wanted | is_extra,
    )


def _browsing(looks: Looks, visits: Visits, shop: Shop, draws: np.random.Generator) -> list[Clicks]:
    """Searches, impressions, views, carts and uncarts: whatever is bought was viewed and put into the cart before."""
    laws, size = shop.parameters, len(looks.visit)
    is_tempting = looks.is_viewed & ~visits.buys[looks.visit] & (draws.random(size) < laws.cart_share)
    happens = {
        "search": draws.random(size) < laws.search_share,
        # A visit begins with something shown: none passes unseen.
        "impression": (draws.random(size) < laws.impression_share) | (looks.number == 0),
        "view": looks.is_viewed,
        "cart": looks.is_bought | is_tempting,
        "uncart": is_tempting & (draws.random(size) < laws.uncart_share),
    }
    events = []
    for kind, marks in happens.items():
        at, visit = np.flatnonzero(marks), looks.visit[marks]
        events.append(
            _events(
                kind,
                customer=visits.customer[visit],
                day=_day(visits, visit, looks.number[at] + SLOT[kind] + looks.jitter[at]),
                visit=visit,
                item=looks.item[at] if kind != "search" else None,
                category=looks.category[at],
                quantity=looks.quantity[at] if kind in ("cart", "uncart") else None,
            )
        )
    return events


def _checkouts(looks: Looks, visits: Visits, items: Items, shop: Shop, draws: np.random.Generator) -> list[Clicks]:
    """Coupons redeemed, then the lines bought, all at one moment."""
    laws = shop.parameters
    redeemed, lines = np.flatnonzero(visits.has_coupon), np.flatnonzero(looks.is_bought)
    visit, item, quantity = looks.visit[lines], looks.item[lines], looks.quantity[lines]
    promotion = np.where(draws.random(len(lines)) < laws.promotion_share, laws.promotion_discount, 0.0)
    discount_share = np.where(visits.has_coupon[visit], laws.coupon_discount, promotion)
    full_cents = items.price_cents[item] * quantity
    discount_cents = np.rint(full_cents * discount_share).astype(np.int64)
    return [
        _events(
            "coupon_redeemed",
            customer=visits.customer[redeemed],
            day=_day(visits, redeemed, visits.num_looks[redeemed] + COUPON_SLOT),
            visit=redeemed,
            campaign=visits.campaign[redeemed],
            order=redeemed,
        ),
        _events(
            "purchase",
            customer=visits.customer[visit],
            day=_day(visits, visit, visits.num_looks[visit] + CHECKOUT_SLOT),
            visit=visit,
            category=looks.category[lines],
            item=item,
            quantity=quantity,
            amount_cents=full_cents - discount_cents,
            discount_cents=discount_cents,
            order=visit,
            campaign=np.where(visits.has_coupon[visit], visits.campaign[visit], ABSENT),
        ),
    ]


def _aftermath(bought: Clicks, shop: Shop, draws: np.random.Generator) -> list[Clicks]:
    """Refunds of whole lines and reviews, days later and outside any visit."""
    laws, size = shop.parameters, len(bought.kind)
    is_refunded = draws.random(size) < laws.refund_share
    rating = np.where(is_refunded, 1, 1 + draws.choice(len(RATING_SHARES), size, p=RATING_SHARES))
    refund_day = bought.day + draws.exponential(laws.refund_days, size)
    review_day = bought.day + draws.exponential(laws.review_days, size)
    nothing = np.full(size, ABSENT)
    plain = replace(bought, visit=nothing, discount_cents=nothing, campaign=nothing)
    refunds = replace(plain, kind=np.full(size, KIND["refund"]), day=refund_day)
    reviews = replace(
        plain, kind=np.full(size, KIND["review"]), day=review_day, rating=rating, quantity=nothing, amount_cents=nothing
    )
    return [refunds.take(is_refunded), reviews.take(draws.random(size) < laws.review_share)]


def _campaigns_sent(campaigns: Campaigns, treated: Marks) -> Clicks:
    customer, campaign = np.nonzero(treated)
    return _events("campaign_sent", customer=customer, day=campaigns.from_day[campaign], campaign=campaign)


def _day(visits: Visits, visit: Numbers, slot: Reals) -> Reals:
    """The moment of a slot: a visit is as many slots long as it has looks, and one more."""
    lasts = visits.to_day[visit] - visits.from_day[visit]
    return visits.from_day[visit] + slot / (visits.num_looks[visit] + 1) * lasts


def _with_hits(events: Clicks) -> Clicks:
    """Events of visits in their order, numbered from 1."""
    ordered = events.take(np.lexsort((events.kind, events.day, events.visit)))
    first = np.searchsorted(ordered.visit, ordered.visit)
    return replace(ordered, hit=np.arange(len(first)) - first + 1)


def _events(kind: str, *, customer: Numbers, day: Reals, **columns: Numbers | None) -> Clicks:
    nothing = np.full(len(customer), ABSENT)
    rest = {field.name: nothing for field in fields(Clicks) if field.name not in ("kind", "customer", "day")}
    rest |= {name: values for name, values in columns.items() if values is not None}
    return Clicks(kind=np.full(len(customer), KIND[kind]), customer=customer, day=day, **rest)


def _stacked(parts: Sequence[Clicks]) -> Clicks:
    return Clicks(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Clicks)}
    )
