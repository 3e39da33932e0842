import itertools
from datetime import date, timedelta
from random import Random

import pytest
from pyspark.sql import DataFrame

from clm_spark.lifecycle.rhythm import months_until, purchase_rhythms
from clm_spark.lifecycle.stages import next_stages, stages_from_history, transitions
from clm_spark.settings import LifecycleSettings
from clm_spark.tables.catalog import CUSTOMER_DAYS, LIFECYCLE_STAGES, PURCHASE_RHYTHMS

# Three gaps of 30 days, with a spread of 30, stand for the shop where it has none of its own.
RULES = LifecycleSettings(prior_gaps=3)
ONE_DAY = timedelta(days=1)
JAN_1 = date(2024, 1, 1)

# Mean and spread of the shop's three gaps and the customer's own, worked by hand. After the first purchase: 30 and 30, so
# what is longer than 60, 90 and 150 days is silence. After a second one 10 days later: mean (3 x 30 + 10) / 4 = 25, mean square
# (3 x 1800 + 100) / 4 = 1375, spread 27.39: the 53rd, 80th and 135th day.
HISTORIES = {  # first seen, purchase days
    "looker": ("2024-01-05", []),
    "one": ("2024-01-01", ["2024-01-01"]),
    "looked before": ("2023-12-30", ["2024-01-01"]),
    "two": ("2024-01-01", ["2024-01-01", "2024-01-11"]),
    "five": ("2024-01-01", ["2024-01-01", "2024-01-11", "2024-01-21", "2024-01-31", "2024-02-10"]),
    "back": ("2024-01-01", ["2024-01-01", "2024-04-01"]),
    "back twice": ("2024-01-01", ["2024-01-01", "2024-04-01", "2024-04-02"]),
    "late": ("2024-01-01", ["2024-01-01", "2024-03-05"]),
}
EXPECTED = [  # as of, customer: stage, since, from
    ("2024-01-02", "one", "new", "2024-01-01", None),
    ("2024-01-02", "looked before", "new", "2024-01-01", "prospect"),
    ("2024-03-01", "one", "new", "2024-01-01", None),
    ("2024-03-02", "one", "at_risk", "2024-03-02", "new"),
    ("2024-03-31", "one", "at_risk", "2024-03-02", "new"),
    ("2024-04-01", "one", "lapsed", "2024-04-01", "at_risk"),
    ("2024-05-31", "one", "lost", "2024-05-31", "lapsed"),
    ("2024-03-31", "looker", "prospect", "2024-01-05", None),
    ("2024-01-12", "two", "activated", "2024-01-11", "new"),
    ("2024-03-03", "two", "activated", "2024-01-11", "new"),
    ("2024-03-04", "two", "at_risk", "2024-03-04", "activated"),
    ("2024-03-31", "two", "lapsed", "2024-03-31", "at_risk"),
    ("2024-05-25", "two", "lost", "2024-05-25", "lapsed"),
    ("2024-02-01", "five", "growing", "2024-01-21", "activated"),
    ("2024-02-11", "five", "loyal", "2024-02-10", "growing"),
    ("2024-04-02", "back", "won_back", "2024-04-01", "lapsed"),
    ("2024-04-03", "back twice", "growing", "2024-04-02", "won_back"),
    ("2024-03-06", "late", "activated", "2024-03-05", "at_risk"),
]
REASONS = {
    ("2024-01-12", "two"): "bought for the second time on 2024-01-11; the next purchase is expected by 2024-03-03",
    ("2024-03-31", "two"): "no purchase for 80 days, where one was expected by 2024-03-03; lapsed on 2024-03-31",
    ("2024-04-02", "back"): "bought again on 2024-04-01 after 91 days of silence",
    ("2024-03-31", "looker"): "seen since 2024-01-05, has not bought yet",
    ("2024-02-11", "five"): "bought on 5 days, the last 2024-02-10; the next purchase is expected by 2024-03-21",
}


def no_rhythms(spark) -> DataFrame:
    return spark.createDataFrame([], PURCHASE_RHYTHMS.schema)


def from_history(spark, histories, as_of: date, rhythms: DataFrame) -> DataFrame:
    known = {
        who: (seen, [day for day in days if day < as_of]) for who, (seen, days) in histories.items() if seen < as_of
    }
    seen = spark.createDataFrame(
        [(who, on) for who, (on, _) in known.items()], "customer_id string, first_seen_on date"
    )
    days = [(who, day) for who, (_, bought) in known.items() for day in bought]
    bought = spark.createDataFrame(days, "customer_id string, day_on date")
    return stages_from_history(bought, seen, rhythms, as_of=as_of, settings=RULES)


def features(spark, histories, as_of: date) -> DataFrame:
    """The columns of gold.customer_features that stages follow from."""
    rows = []
    for who, (seen, bought) in histories.items():
        days = [day for day in bought if day < as_of]
        gaps = [(after - before).days for before, after in itertools.pairwise(days)]
        ages = [(as_of - day).days for day in (days[:1] + days[-1:])] or [None, None]
        if seen < as_of:
            rows.append((who, (as_of - seen).days, *ages, len(days), sum(gap * gap for gap in gaps) if days else None))
    return spark.createDataFrame(
        rows,
        "customer_id string, tenure_days bigint, first_purchase_days bigint, purchase_recency_days bigint, "
        "num_purchase_days bigint, squared_gaps bigint",
    )


def dated(histories):
    return {who: (date.fromisoformat(on), [*map(date.fromisoformat, days)]) for who, (on, days) in histories.items()}


def test_stages_of_histories_worked_by_hand(spark):
    mornings = sorted({date.fromisoformat(as_of) for as_of, *_ in EXPECTED})
    found = {}
    for as_of in mornings:
        for row in from_history(spark, dated(HISTORIES), as_of, no_rhythms(spark)).collect():
            found[str(as_of), row.customer_id] = row
    told = [
        (as_of, who, found[as_of, who].stage, str(found[as_of, who].since_on), found[as_of, who].from_stage)
        for as_of, who, *_ in EXPECTED
    ]
    assert told == EXPECTED
    assert {place: found[place].reason for place in REASONS} == REASONS


@pytest.mark.parametrize(
    ("of_shop", "days", "first_silent"),
    [
        ((40, 7.0, 0.0), 4, 8),  # every week like clockwork: the day of the usual purchase is no silence yet
        ((40, 7.0, 0.0), 1, 8),
        ((1, 2.0, 0.0), 1, 61),  # one gap is no rhythm of a shop
        ((29, 2.0, 0.0), 1, 61),
        ((30, 2.0, 0.0), 1, 3),
    ],
)
def test_silence_is_longer_than_the_limit_and_a_shops_rhythm_takes_gaps(spark, of_shop, days, first_silent):
    rhythms = spark.createDataFrame([(JAN_1, *of_shop), (date(2024, 2, 1), *of_shop)], PURCHASE_RHYTHMS.schema)
    bought = [JAN_1 + 7 * number * ONE_DAY for number in range(days)]
    (row,) = from_history(spark, {"c": (JAN_1, bought)}, bought[-1] + ONE_DAY, rhythms).collect()
    assert (row.at_risk_on - bought[-1]).days == first_silent


def test_a_step_equals_the_merge_of_all_days(spark):
    draws, histories = Random(5), {}
    for number in range(60):
        seen = JAN_1 + draws.randrange(60) * ONE_DAY
        pace, day, bought = draws.choice((2, 5, 12)), seen + draws.randrange(5) * ONE_DAY, []
        while day < date(2024, 4, 20) and number % 6 and draws.random() < 0.93:
            bought.append(day)
            day += (1 + int(draws.expovariate(1 / pace)) + 40 * (draws.random() < 0.1)) * ONE_DAY
        histories[f"c{number:02}"] = (seen, bought)
    rhythms = spark.createDataFrame(
        [(date(2024, 2, 1), 30, 4.5, 3.25), (date(2024, 3, 1), 40, 6.125, 9.0)], PURCHASE_RHYTHMS.schema
    ).persist()
    as_of = date(2024, 2, 25)
    stored = from_history(spark, histories, as_of, rhythms).collect()
    seen_stages = set()
    for _ in range(7):
        as_of += ONE_DAY
        before = spark.createDataFrame(stored, LIFECYCLE_STAGES.schema)
        made, others = next_stages(before, features(spark, histories, as_of), rhythms, as_of=as_of, settings=RULES)
        stored = made.collect()
        merged = from_history(spark, histories, as_of, rhythms).collect()
        assert others.isEmpty()
        assert sorted(stored) == sorted(merged)
        seen_stages |= {row.stage for row in stored}
        moves = transitions(spark.createDataFrame(stored, LIFECYCLE_STAGES.schema), as_of=as_of).collect()
        was = {row.customer_id: row.stage for row in before.collect()}
        pairs = [(was.get(row.customer_id, "not_seen"), row.stage) for row in stored]
        assert {(row.from_stage, row.to_stage): row.num_customers for row in moves} == {
            pair: pairs.count(pair) for pair in pairs
        }
    assert len(seen_stages) >= 8, "the drawn shop is lively"


def test_customers_whose_past_changed_are_named(spark):
    as_of = date(2024, 3, 10)
    stored = from_history(spark, dated(HISTORIES), as_of - ONE_DAY, no_rhythms(spark))
    told_late = dated(HISTORIES) | {
        "two": (JAN_1, [JAN_1, date(2024, 1, 11), date(2024, 2, 2)]),
        "unheard of": (JAN_1, [date(2024, 2, 2)]),
    }
    rows, others = next_stages(
        stored, features(spark, told_late, as_of), no_rhythms(spark), as_of=as_of, settings=RULES
    )
    assert {row.customer_id for row in others.collect()} == {"two", "unheard of"}
    assert rows.count() == len(HISTORIES) - 1


@pytest.mark.parametrize(
    ("first", "last", "number"), [("2023-11-30", "2024-02-01", 4), ("2024-01-01", "2024-01-01", 1)]
)
def test_months(first, last, number):
    months = months_until(date.fromisoformat(first), date.fromisoformat(last))
    assert len(months) == number
    assert (months[0], months[-1]) == (
        date.fromisoformat(first).replace(day=1),
        date.fromisoformat(last).replace(day=1),
    )


def test_the_shops_rhythm_is_what_each_month_knew(spark):
    measures = [name for name in CUSTOMER_DAYS.schema.names if name not in CUSTOMER_DAYS.key]
    days = [  # customer, day, known on, orders
        ("a", "2024-01-01", "2024-01-01", 1),
        ("a", "2024-01-11", "2024-01-11", 2),
        ("a", "2024-01-12", "2024-01-12", 0),
        ("a", "2024-01-31", "2024-02-03", 1),  # came late: unknown on 1 February
        ("b", "2024-01-20", "2024-01-20", 1),
        ("b", "2024-02-19", "2024-02-19", 1),
    ]
    rows = [
        (
            who,
            date.fromisoformat(on),
            date.fromisoformat(known),
            *(orders if name == "num_orders" else 1 for name in measures),
        )
        for who, on, known, orders in days
    ]
    found = purchase_rhythms(
        spark.createDataFrame(rows, CUSTOMER_DAYS.schema), months_until(date(2024, 1, 1), date(2024, 3, 1))
    ).collect()
    assert [tuple(row)[1:] for row in sorted(found)] == [
        (0, None, None),
        (1, 10.0, 0.0),
        (3, 20.0, pytest.approx((200 / 3) ** 0.5)),
    ]
