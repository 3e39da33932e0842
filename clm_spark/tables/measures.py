"""The measures of a day. All of them add up over days, so that a window is a sum of days."""

from dataclasses import dataclass

# Done to a customer, not by one: no sign of a visit.
NOT_A_VISIT = ("campaign_sent", "impression")
_IS_ACT = "kind NOT IN ('campaign_sent', 'impression')"
_HOUR = "hour(occurred_at)"
DEVICE = "lower(attributes['device'])"
CHANNEL = "lower(attributes['channel'])"


@dataclass(frozen=True)
class Measure:
    """A figure of a day: `sql` aggregates the rows that it is made of, to a whole number that is not below zero."""

    name: str
    meaning: str
    sql: str


def _events(name: str, meaning: str, condition: str) -> Measure:
    return Measure(name, meaning, f"count_if({condition})")


def _acts(name: str, meaning: str, condition: str) -> Measure:
    return _events(name, meaning, f"{_IS_ACT} AND {condition}")


def _money(name: str, meaning: str, column: str, kind: str) -> Measure:
    return Measure(name, meaning, f"coalesce(sum({column}) FILTER (WHERE kind = '{kind}'), 0)")


# Over the events of silver.events; an event whose kind is null counts nowhere.
OF_EVENTS = (
    Measure("num_events", "events of any kind", "count(kind)"),
    _events("num_acts", "events of the customer's own doing: no campaigns, no impressions", _IS_ACT),
    _events("num_views", "items viewed or clicked", "kind IN ('view', 'click')"),
    _events("num_searches", "searches", "kind = 'search'"),
    _events("num_carts", "items put into the cart", "kind = 'cart'"),
    _events("num_lines", "basket lines bought", "kind = 'purchase'"),
    _money("num_units", "units bought", "quantity", "purchase"),
    _events("num_discounted_lines", "basket lines bought below list price", "kind = 'purchase' AND discount_cents > 0"),
    _events("num_refunds", "lines refunded", "kind = 'refund'"),
    _events("num_campaigns", "campaigns received", "kind = 'campaign_sent'"),
    _events("num_coupons", "coupons redeemed", "kind = 'coupon_redeemed'"),
    _events("num_reviews", "reviews written", "kind = 'review'"),
    _money("revenue_cents", "bought, before refunds", "amount_cents", "purchase"),
    _money("refund_cents", "paid back", "amount_cents", "refund"),
    _money("discount_cents", "taken off list prices", "discount_cents", "purchase"),
    _acts("num_night_acts", "acts from midnight to six by the shop's clock", f"{_HOUR} < 6"),
    _acts("num_morning_acts", "acts from six to noon by the shop's clock", f"{_HOUR} BETWEEN 6 AND 11"),
    _acts("num_afternoon_acts", "acts from noon to six by the shop's clock", f"{_HOUR} BETWEEN 12 AND 17"),
    _acts("num_device_acts", "acts whose device the log names", f"{DEVICE} IS NOT NULL"),
    _acts("num_mobile_acts", "acts on a phone or tablet", f"{DEVICE} IN ('phone', 'mobile', 'smartphone', 'tablet')"),
    _acts("num_channel_acts", "acts of which the log says what brought the customer", f"{CHANNEL} IS NOT NULL"),
    _acts("num_paid_acts", "acts brought by advertising", f"{CHANNEL} IN ('ads', 'paid', 'cpc', 'display')"),
    _acts("num_email_acts", "acts brought by e-mail", f"{CHANNEL} IN ('email', 'e-mail', 'newsletter')"),
)

# Over the events of a visit, for silver.sessions.
OF_VISIT = (
    Measure("num_events", "events of any kind", "count(kind)"),
    _events("num_views", "items viewed or clicked", "kind IN ('view', 'click')"),
    _events("num_carts", "items put into the cart", "kind = 'cart'"),
    _events("num_purchases", "lines bought", "kind = 'purchase'"),
    _money("revenue_cents", "bought, before refunds", "amount_cents", "purchase"),
)

# Over the visits that begin on a day, each whole: what follows after midnight counts on the day of its beginning. A row has
# `visit`, its number, `seconds`, and its acts, lines and carts; one row without a number holds what is of no such visit.
OF_A_VISIT = {"visit_acts": "num_acts", "visit_lines": "num_lines", "visit_carts": "num_carts"}
OF_VISITS = (
    Measure("num_visits", "visits that began", "count(visit)"),
    Measure("visit_seconds", "from first to last event, summed over visits that began", "coalesce(sum(seconds), 0)"),
    Measure("num_bounces", "visits that began, of a single event", "count_if(visit_acts = 1)"),
    Measure("num_buying_visits", "visits that began, with a purchase", "count_if(visit_lines > 0)"),
    Measure("num_cart_visits", "visits that began and put something into the cart", "count_if(visit_carts > 0)"),
    Measure(
        "num_abandoned_visits",
        "visits that began, put something into the cart and bought nothing",
        "count_if(visit_carts > 0 AND visit_lines = 0)",
    ),
)

# Over the baskets of a day but those that hold lines of the day before, too; a purchase that names no order is one of its own.
OF_ORDERS = (Measure("num_orders", "baskets bought, each on the first of its days", "count(*)"),)

CUSTOMER_MEASURES = (*OF_EVENTS, *OF_VISITS, *OF_ORDERS)

_OF_EVENTS = {measure.name: measure for measure in OF_EVENTS}

# Over the events of a customer's day that name an item.
OF_ITEM = (
    _OF_EVENTS["num_events"],
    _events("num_impressions", "times it was shown", "kind = 'impression'"),
    _events("num_clicks", "times it was clicked where it was shown", "kind = 'click'"),
    *(_OF_EVENTS[name] for name in ("num_views", "num_carts", "num_lines", "num_units", "num_refunds", "num_reviews")),
    *(_OF_EVENTS[name] for name in ("revenue_cents", "refund_cents", "discount_cents")),
)

# How many events of each kind there are on a customer's or an item's day with an item.
NUM_OF_KIND = {
    "view": "num_views - num_clicks",
    "click": "num_clicks",
    "impression": "num_impressions",
    "cart": "num_carts",
    "purchase": "num_lines",
    "refund": "num_refunds",
    "review": "num_reviews",
}

# Over the customers of an item's day. A row has the figures above, of one customer; of all guests, whose id is empty.
OF_CUSTOMERS = (
    *(Measure(measure.name, measure.meaning, f"sum({measure.name})") for measure in OF_ITEM),
    Measure("num_co_views", "other items that its viewers viewed that day", "sum(num_co_views)"),
    _events("num_viewer_days", "customers who viewed it", "num_views > 0 AND customer_id != ''"),
    _events("num_buyer_days", "customers who bought it", "num_lines > 0 AND customer_id != ''"),
)
