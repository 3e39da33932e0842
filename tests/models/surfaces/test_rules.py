"""Each row is a case: one candidate alone in a list of its own, and the rule that must remove it, or none."""

import json

from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from clm_spark.models.surfaces.lists import ASKED, exclusions_of, lists_of
from clm_spark.models.surfaces.rules import CAPS, ROW_RULES, with_removed_by
from clm_spark.tables.catalog import RULES

FACTS = {
    "category": "string", "brand": "string", "num_in_stock": "bigint", "is_excluded": "boolean", "is_sponsored": "boolean",
    "price_cents": "double", "bought_days_ago": "bigint", "gap_days": "double", "num_impressions": "bigint",
    "usual_price_cents": "double", "channels": "array<string>", "is_ranked": "boolean",
}  # fmt: skip
SCHEMA = "customer_id string, rank int, item_id string, asked string, expected string, " + ", ".join(
    f"{name} {kind}" for name, kind in FACTS.items()
)


def candidates(spark, rows):
    """Rows (customer, rank, asked, facts, expected) as the rules take them; `asked` is what differs from no rule at all."""
    ranked = {"is_ranked": True}
    off = {"surface": "home", "length": 3, "hidden_categories": [], "min_new": 0, "sponsored_places": []}
    listed = [
        (
            who,
            rank,
            f"{who}-{rank}",
            json.dumps({**off, **asked}),
            expected,
            *({**ranked, **facts}.get(name) for name in FACTS),
        )
        for who, rank, asked, facts, expected in rows
    ]
    kind = ASKED.removeprefix("array<").removesuffix(">")
    rows = spark.createDataFrame(listed, SCHEMA).withColumn("asked", F.from_json("asked", kind))
    return rows.withColumn("surface", F.col("asked.surface"))


def test_a_candidate_is_removed_by_the_first_rule_that_says_so(spark):
    mail, repeat, band = {"permission": "email"}, {"repeat_share": 0.5}, {"price_band": [0.5, 2.0]}
    cases = [
        ("nothing known", {}, {}, None),
        ("sold out", {}, {"num_in_stock": 0}, "stock"),
        ("oversold", {}, {"num_in_stock": -2}, "stock"),
        ("one left", {}, {"num_in_stock": 1}, None),
        ("excluded", {}, {"is_excluded": True}, "exclusion"),
        ("not excluded", {}, {"is_excluded": False}, None),
        ("sold out and excluded", {}, {"is_excluded": True, "num_in_stock": 0}, "stock"),
        ("never asked", mail, {}, "permission"),
        ("agreed to another channel", mail, {"channels": ["sms"]}, "permission"),
        ("agreed", mail, {"channels": ["email", "sms"]}, None),
        ("asked for in capitals", {"permission": "Email"}, {"channels": ["email"]}, None),
        ("no permission needed", {}, {"channels": []}, None),
        ("hidden", {"hidden_categories": ["fuel"]}, {"category": "fuel"}, "hidden_category"),
        ("not hidden", {"hidden_categories": ["fuel"]}, {"category": "milk"}, None),
        ("no category", {"hidden_categories": ["fuel"]}, {}, None),
        ("bought 4 of 10 days ago", repeat, {"bought_days_ago": 4, "gap_days": 10.0}, "repeat_interval"),
        ("bought 5 of 10 days ago", repeat, {"bought_days_ago": 5, "gap_days": 10.0}, None),
        ("bought once, as everybody", repeat, {"bought_days_ago": 300}, "repeat_interval"),
        ("never bought", repeat, {"gap_days": 10.0}, None),
        ("repeats are not asked for", {}, {"bought_days_ago": 1, "gap_days": 10.0}, None),
        ("too dear", band, {"price_cents": 201.0, "usual_price_cents": 100.0}, "price_band"),
        ("too cheap", band, {"price_cents": 49.0, "usual_price_cents": 100.0}, "price_band"),
        ("on the limit", band, {"price_cents": 200.0, "usual_price_cents": 100.0}, None),
        ("no price", band, {"usual_price_cents": 100.0}, None),
        ("pays nothing", band, {"price_cents": 200.0, "usual_price_cents": 0.0}, None),
        ("shown often", {"max_impressions": 3}, {"num_impressions": 3}, "frequency_cap"),
        ("shown twice", {"max_impressions": 3}, {"num_impressions": 2}, None),
    ]
    rows = candidates(spark, [(who, 1, asked, facts, expected) for who, asked, facts, expected in cases])
    assert {expected for *_, expected in cases} == {None, *ROW_RULES}, "a rule without a case"
    assertDataFrameEqual(
        with_removed_by(rows).select("customer_id", "removed_by"),
        rows.select("customer_id", F.col("expected").alias("removed_by")),
    )


def test_caps_count_what_is_kept(spark):
    cap, brand, new = {"max_per_category": 1}, {"max_per_brand": 1}, {"length": 3, "min_new": 2}
    milk, tea, bought = {"category": "milk"}, {"category": "tea"}, {"bought_days_ago": 9}
    rows = [
        ("one of a category", 1, cap, milk, None), ("one of a category", 2, cap, milk, "category_cap"),
        ("one of a category", 3, cap, tea, None), ("one of a category", 4, cap, {}, None), ("one of a category", 5, cap, {}, None),
        ("one that is sold out takes no place", 1, cap, {**milk, "num_in_stock": 0}, "stock"),
        ("one that is sold out takes no place", 2, cap, milk, None),
        ("brands", 1, brand, {"brand": "a"}, None), ("brands", 2, brand, {"brand": "b"}, None),
        ("brands", 3, brand, {"brand": "a"}, "brand_cap"),
        ("a category's cap comes first", 1, {**cap, **brand}, {**milk, "brand": "a"}, None),
        ("a category's cap comes first", 2, {**cap, **brand}, {**milk, "brand": "b"}, "category_cap"),
        ("a category's cap comes first", 3, {**cap, **brand}, {**tea, "brand": "b"}, None),
        ("one of three may be known", 1, new, bought, None), ("one of three may be known", 2, new, bought, "min_new"),
        ("one of three may be known", 3, new, {}, None), ("one of three may be known", 4, new, {}, None),
        ("bought more than a year ago", 1, {"length": 2, "min_new": 2}, {"bought_days_ago": 366}, None),
        ("bought a year ago", 1, {"length": 2, "min_new": 2}, {"bought_days_ago": 365}, "min_new"),
        ("none may", 1, {"length": 2, "min_new": 2}, bought, "min_new"),
        ("more new ones than places", 1, {"length": 2, "min_new": 5}, bought, "min_new"),
        # What one cap removes takes no room of another, whichever comes first.
        ("new ones have the category's room", 1, {**cap, **new}, {**tea, **bought}, None),
        ("new ones have the category's room", 2, {**cap, **new}, {**milk, **bought}, "min_new"),
        ("new ones have the category's room", 3, {**cap, **new}, milk, None),
        ("new ones have the category's room", 4, {**cap, **new}, milk, "category_cap"),
        ("a full category leaves the brand its room", 1, {**cap, **brand}, {**milk, "brand": "a"}, None),
        ("a full category leaves the brand its room", 2, {**cap, **brand}, {**milk, "brand": "b"}, "category_cap"),
        ("a full category leaves the brand its room", 3, {**cap, **brand}, {**tea, "brand": "b"}, None),
        ("a full category leaves the brand its room", 4, {**cap, **brand}, {"category": "jam", "brand": "b"}, "brand_cap"),
    ]  # fmt: skip
    assert {row[-1] for row in rows} >= {*CAPS}, "a cap without a case"
    assert {*CAPS, *ROW_RULES} == {*RULES}
    asked, columns = candidates(spark, rows), ["customer_id", "rank"]
    assertDataFrameEqual(
        with_removed_by(asked).select(*columns, "removed_by"),
        asked.select(*columns, F.col("expected").alias("removed_by")),
    )
    names = sorted(asked.columns)
    assertDataFrameEqual(with_removed_by(asked).select(names), asked.select(names))


def test_lists_close_up_and_paid_places_are_taken(spark):
    def shop(who, asked, flags):
        """Per candidate: o its own place, s sponsored, p sponsored and popular but not ranked by the champion, x sold out."""
        paid = {"is_sponsored": True}
        facts = {"o": {}, "s": paid, "p": {**paid, "is_ranked": False}, "x": {"num_in_stock": 0}}
        return [(who, rank, asked, facts[flag], None) for rank, flag in enumerate(flags, start=1)]

    second, both = {"sponsored_places": [2]}, {"sponsored_places": [1, 3], "length": 4}
    cases = {  # asked, candidates, the ranks that are shown in this order, the places that are paid for
        "no rule": ({}, "oooo", [1, 2, 3], []),
        "a gap closes": ({}, "oxoo", [1, 3, 4], []),
        "sponsored without a place": ({}, "soo", [1, 2, 3], []),
        "lifted": (second, "ooos", [1, 4, 2], [2]),
        "lowered": (second, "soo", [2, 1, 3], [2]),
        "only the best is paid": (second, "ooss", [1, 3, 2], [2]),
        "nobody pays": (second, "ooo", [1, 2, 3], []),
        "two places": (both, "oooss", [4, 1, 5, 2], [1, 3]),
        "one of two": (both, "ooos", [4, 1, 2, 3], [1]),
        "a place beyond the end": ({"sponsored_places": [3]}, "so", [2, 1], [2]),
        "a place that no list has": ({"sponsored_places": [9]}, "soo", [1, 2, 3], []),
        "sold out pays for nothing": (second, "oox", [1, 2], []),
        "what fills the list up pays for nothing": (second, "oop", [1, 2, 3], []),
        "the one that is ranked pays": (second, "osp", [1, 2, 3], [2]),
        "all gone": ({}, "xx", [], []),
    }
    rows = [row for who, (asked, flags, *_) in cases.items() for row in shop(who, asked, flags)]
    shown = lists_of(with_removed_by(candidates(spark, rows))).orderBy("customer_id", "rank").collect()
    for who, (_, _, ranks, paid) in cases.items():
        own = [row for row in shown if row.customer_id == who]
        assert [row["rank"] for row in own] == [*range(1, len(ranks) + 1)], who
        assert [row.item_id for row in own] == [f"{who}-{rank}" for rank in ranks], who
        assert [row["rank"] for row in own if row.is_sponsored] == paid, who


def test_exclusions_are_counted_by_surface_and_rule(spark):
    out, mail = {"num_in_stock": 0}, {"surface": "email", "permission": "email", "length": 1}
    rows = [
        ("a", 1, {}, out, None), ("a", 4, {}, out, None), ("b", 2, {}, out, None), ("b", 3, {}, {}, None),
        ("a", 1, mail, out, None), ("a", 2, mail, {}, None),
    ]  # fmt: skip
    counted = exclusions_of(with_removed_by(candidates(spark, rows))).collect()
    assert {tuple(row) for row in counted} == {
        ("home", "stock", 3, 2, 2),  # the fourth would not have been shown
        ("email", "stock", 1, 1, 1),
        ("email", "permission", 1, 0, 1),
    }
