"""The shop: its size, its weeks, and how far visits go."""

from dataclasses import dataclass
from datetime import date

import pandas as pd
from pyspark.sql import functions as F

from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.lifecycle.funnel import UNKNOWN
from clm_spark.report import charts
from clm_spark.report.blocks import Chart, Grid, Section, count_text, missing, money_text, share_text
from clm_spark.report.figures import (
    FUNNEL_DAYS,
    campaign_steps_from_days,
    events_by_kind,
    funnel_from_sessions,
    ledger_from_batches,
    orders_of_guests,
    totals_from_features,
    weeks_from_customer_days,
)
from clm_spark.report.rows import first_line, known_rows, lines, small_rows
from clm_spark.tables.catalog import (
    CUSTOMER_DAYS,
    CUSTOMER_FEATURES,
    EVENT_KINDS,
    EVENTS,
    FUNNEL,
    INGESTED_BATCHES,
    SESSIONS,
)
from clm_spark.tables.lake import Lake

NUM_WEEKS = 104
MOST_WAYS = 12  # pairs of a channel and a device


@dataclass(frozen=True)
class Tile:
    """One figure of the header."""

    figure: str
    meaning: str


def span_of_data(lake: Lake) -> str:
    """First and last day of the events kept, in words."""
    # One row.
    ledger = small_rows(lake, INGESTED_BATCHES, ledger_from_batches, at_most=1)
    if ledger.empty or pd.isna(ledger.first_on[0]):
        return "no events taken in yet"
    return f"events from {ledger.first_on[0]} to {ledger.last_on[0]}"


def tiles(lake: Lake) -> list[Tile]:
    """The shop in four figures."""
    # One row.
    totals = small_rows(lake, CUSTOMER_FEATURES, totals_from_features, at_most=1)
    if totals.empty or not totals.num_customers[0]:
        return []
    row = first_line(totals)
    return [
        Tile(count_text(row.num_customers), "customers known"),
        Tile(count_text(row.num_buyers_30d), "customers who bought in the last 30 days"),
        Tile(count_text(row.num_orders_30d), "orders in the last 30 days"),
        Tile(money_text(row.net_revenue_30d_cents), "net revenue of the last 30 days, in the shop's currency"),
    ]


def shop_over_time(lake: Lake) -> Section:
    """Orders, active customers and net revenue by week."""
    as_of = lake.settings.as_of
    persons = known_persons(lake, [as_of])
    # One row per week, two years of them.
    weeks = small_rows(
        lake,
        CUSTOMER_DAYS,
        lambda days: weeks_from_customer_days(with_person(days, persons), as_of=as_of, num_weeks=NUM_WEEKS),
        at_most=NUM_WEEKS,
    )
    if weeks.empty and lake.exists(CUSTOMER_DAYS) and not known_rows(lake, CUSTOMER_DAYS).isEmpty():
        return Section("shop", "The shop over time", f"Nothing to show yet: no whole week lies before {as_of}.")
    if weeks.empty:
        return missing("shop", "The shop over time", of=CUSTOMER_DAYS, job="build_features")
    weeks = _without_gaps(weeks, as_of=as_of)
    drawn = (
        ("num_orders", "Orders per week", "orders"),
        ("num_active", "Customers active in the week: they bought, looked or did anything else", "customers"),
        ("net_revenue", "Net revenue per week: bought less refunded", "currency units"),
    )
    last, before = weeks.iloc[-1], weeks.iloc[:-1].tail(4)
    lead = f"The week before {as_of} brought {count_text(last.num_orders)} orders"
    if len(before):
        lead += f"; the mean of the {len(before)} weeks before it is {count_text(before.num_orders.mean())}"
    pictures = []
    for column, caption, unit in drawn:
        label = f"{caption}, line chart over {len(weeks)} weeks"
        picture = charts.line_over_weeks(weeks, column, label=label, unit=unit)
        pictures.append(Chart(picture, f"{caption} ({unit})."))
    notes = [f"Weeks are counted back from {as_of}, so each is whole; at most the last {NUM_WEEKS} are shown."]
    guests = first_line(small_rows(lake, EVENTS, orders_of_guests, at_most=1))  # one row
    if guests.num_orders:
        worth = money_text(guests.net_revenue_cents)
        notes.append(
            f"Guests' orders are not in these figures: {count_text(guests.num_orders)} of them, worth {worth}."
        )
    return Section("shop", "The shop over time", f"{lead}.", pictures, notes=notes)


def funnel(lake: Lake) -> Section:
    """From visit to purchase; for a log of purchases alone, from campaign to coupon."""
    as_of = lake.settings.as_of
    title = "From visit to purchase"
    # One row per kind of event.
    kinds = small_rows(lake, EVENTS, events_by_kind, at_most=len(EVENT_KINDS))
    if kinds.empty:
        return missing("funnel", title, of=EVENTS, job="ingest_events")
    logged = dict(zip(kinds.kind, kinds.num_events, strict=True))
    browses = "view" in logged or "click" in logged
    section = _visit_funnel(lake) if browses else _campaign_funnel(lake)
    listed = ", ".join(f"{count_text(number)} {kind.replace('_', ' ')}" for kind, number in logged.items())
    absent = [kind for kind in ("view", "cart", "purchase") if kind not in logged]
    notes = [*section.notes, f"Events known before {as_of}: {listed}."]
    if absent:
        notes.append(f"The log holds no {' and no '.join(absent)} events, so those steps cannot be shown.")
    return Section(section.anchor, section.title, section.lead, section.charts, section.grids, notes)


def _visit_funnel(lake: Lake) -> Section:
    title = "From visit to purchase"
    as_of = lake.settings.as_of
    # One row.
    counted = small_rows(lake, SESSIONS, lambda rows: funnel_from_sessions(rows, as_of=as_of), at_most=1)
    if counted.empty or not counted.num_visits[0]:
        return missing("funnel", title, of=SESSIONS, job="build_sessions")
    row = first_line(counted)
    steps = [("visits", row.num_visits), ("that view an item", row.num_viewing)]
    notes = []
    if row.num_carting:
        steps += [("and use the cart", row.num_carting), ("and buy", row.num_buying)]
        other = int(row.num_buying_at_all - row.num_buying)
        if other:
            notes = [f"{count_text(other)} further visits buy without both a view and a cart in the same visit."]
    elif row.num_buying_at_all:
        steps.append(("visits that buy", row.num_buying_at_all))
    lead = (
        f"Of {count_text(row.num_visits)} visits in the {FUNNEL_DAYS} days before {as_of}, "
        f"{share_text(row.num_buying_at_all / row.num_visits)} end with a purchase."
    )
    return Section("funnel", title, lead, [_steps(steps, unit="visits")], _ways(lake), notes)


def _ways(lake: Lake) -> list[Grid]:
    """Yesterday's visits by what brought them and what they were made on; none where the log says neither."""
    ways = small_rows(
        lake,
        FUNNEL,
        lambda rows: rows.where("unit = 'visit'").orderBy(F.desc("num_visiting"), "channel", "device"),
        at_most=MOST_WAYS,
    )
    if ways.empty or {*ways.channel, *ways.device} == {UNKNOWN}:
        return []
    rows = [
        [row.channel, row.device, count_text(row.num_visiting),
         *(share_text(number / row.num_visiting) for number in (row.num_viewing, row.num_carting, row.num_buying))]
        for row in lines(ways)
    ]  # fmt: skip
    header = ["channel", "device", "visits", "view", "and use the cart", "and buy"]
    return [Grid("Visits of the day before, by what brought them and what they were made on.", header, rows, 2)]


def _campaign_funnel(lake: Lake) -> Section:
    title = "From campaign to coupon"
    as_of = lake.settings.as_of
    persons = known_persons(lake, [as_of])
    # One row.
    counted = small_rows(
        lake,
        CUSTOMER_DAYS,
        lambda days: campaign_steps_from_days(with_person(days, persons), as_of=as_of),
        at_most=1,
    )
    if counted.empty or not counted.num_customers[0]:
        return missing("funnel", title, of=CUSTOMER_DAYS, job="build_features")
    row = first_line(counted)
    steps = [
        ("customers seen", row.num_customers),
        ("sent a campaign", row.num_reached),
        ("who also bought", row.num_buying),
        ("used a coupon", row.num_redeeming),
    ]
    lead = f"This log does not show visits turning into purchases. In the {FUNNEL_DAYS} days before {as_of}, "
    if row.num_reached:
        lead += (
            f"campaigns reached {count_text(row.num_reached)} of {count_text(row.num_customers)} customers seen, "
            f"and {share_text(row.num_redeeming / row.num_reached)} of those reached redeemed a coupon."
        )
    else:
        lead += "no campaign was sent."
    return Section("funnel", title, lead, [_steps(steps, unit="customers")])


def _steps(steps: list[tuple[str, int]], *, unit: str) -> Chart:
    first = steps[0][1]
    rows = pd.DataFrame(steps, columns=["step", "number"])
    rows["text"] = [f"{count_text(number)} ({share_text(number / first)})" for number in rows.number]
    caption = f"Each bar: {unit} in the {FUNNEL_DAYS} days that got so far, and their share of the first bar."
    summary = "; ".join(f"{step} {text}" for step, text in zip(rows.step, rows.text, strict=True))
    drawn = charts.bars(rows, name="step", value="number", text="text", label=f"Funnel, {unit}: {summary}", unit=unit)
    return Chart(drawn, caption)


def _without_gaps(weeks: pd.DataFrame, *, as_of: date) -> pd.DataFrame:
    """A row for every week up to as_of, whether anything happened in it or not."""
    weeks = weeks.assign(week_on=pd.to_datetime(weeks.week_on)).set_index("week_on")
    every = pd.date_range(weeks.index.min(), pd.Timestamp(as_of) - pd.Timedelta(days=7), freq="7D", name="week_on")
    filled = weeks.reindex(every, fill_value=0)
    return filled.assign(net_revenue=filled.net_revenue_cents / 100).reset_index()
