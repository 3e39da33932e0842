"""Names that people remember, from what sets a segment apart; and the same differences in words."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.models.segments.space import SCALED

Differences = Mapping[str, float]  # by column of `SCALED`: in standard deviations of all customers

LEAST = 0.3  # a smaller difference gives no word to a new name
STILL = 0.1  # and below this one, a word of a name in use does not hold any more

NEVER_BOUGHT = "window shoppers"
UNCLEAR = "no clear group"
ALIKE = "average customers"


@dataclass(frozen=True)
class Word:
    """What one calls those above, or below, all customers in a trait: as an adjective, as a noun, and in figures."""

    adjective: str
    noun: str | None
    difference: str


WORDS: Mapping[str, tuple[Word, Word]] = {  # above, below
    "log_recency": (Word("quiet", None, "longer silence"), Word("recent", None, "bought more lately")),
    "log_orders": (
        Word("frequent", "regulars", "more orders"),
        Word("occasional", "occasional buyers", "fewer orders"),
    ),
    "log_revenue": (
        Word("big-spending", "big spenders", "more revenue"),
        Word("low-spending", "small spenders", "less revenue"),
    ),
    "log_mean_order": (
        Word("full-basket", "basket fillers", "larger orders"),
        Word("small-basket", "quick-trip shoppers", "smaller orders"),
    ),
    "discount": (
        Word("thrifty", "bargain hunters", "higher discounts"),
        Word("full-price", "full-price shoppers", "lower discounts"),
    ),
    "log_trend": (Word("rising", None, "orders on the rise"), Word("fading", None, "orders on the wane")),
}
OF_NEVER_BOUGHT = {"log_recency": (Word("long-known", None, ""), Word("new", None, ""))}
# Fewer orders than all, and next to none at all.
OF_STOPPED = {
    **WORDS,
    "log_recency": (Word("lapsed", None, "longer silence"), WORDS["log_recency"][1]),
    "log_orders": (WORDS["log_orders"][0], Word("lapsed", "lapsed buyers", "fewer orders")),
}
STOPPED_BELOW = 0.5  # mean orders in 90 days
# When customers buy; the other traits are how. A name takes a word of either kind: two of one kind say much the same.
RHYTHM = ("log_recency", "log_orders", "log_trend")


@dataclass(frozen=True)
class Portrait:
    """A segment as it is named: how many it holds, whether any of them ever bought, and how it differs."""

    segment: int
    num_customers: int
    differences: Differences
    has_bought: bool = True
    has_stopped: bool = False

    @property
    def words(self) -> Mapping[str, tuple[Word, Word]]:
        """Those that its name may be made of."""
        return OF_NEVER_BOUGHT if not self.has_bought else OF_STOPPED if self.has_stopped else WORDS


def portraits_of(assigned: DataFrame) -> list[Portrait]:
    """One per segment, the largest first. Needs `segment` and the features that segments are cut by; bounded by segments.

    A difference is the segment's mean less that of all customers, in their standard deviations, on the scale of `SCALED`;
    0 where all are alike. Rounded: a mean depends in its last digits on the order of the rows.
    """
    traits = assigned.select(
        "segment", "purchase_recency_days", "num_orders_90d", *(F.expr(sql).alias(name) for name, sql in SCALED.items())
    )
    of_all = traits.agg(
        *(F.avg(name).alias(f"{name}_mean") for name in SCALED),
        *(F.stddev_pop(name).alias(f"{name}_deviation") for name in SCALED),
    )
    means = traits.groupBy("segment").agg(
        F.count("*").alias("num_customers"),
        F.count("purchase_recency_days").alias("num_buyers"),
        F.avg("num_orders_90d").alias("mean_orders"),
        *(F.avg(name).alias(name) for name in SCALED),
    )
    apart = [
        F.round(
            F.coalesce(F.try_divide(F.col(name) - F.col(f"{name}_mean"), f"{name}_deviation"), F.lit(0.0)), 6
        ).alias(name)
        for name in SCALED
    ]
    rows = means.crossJoin(F.broadcast(of_all)).select("segment", "num_customers", "num_buyers", "mean_orders", *apart)
    found = [
        Portrait(
            row.segment,
            row.num_customers,
            {name: row[name] for name in SCALED},
            has_bought=row.num_buyers > 0,
            has_stopped=row.mean_orders < STOPPED_BELOW,
        )
        for row in rows.collect()
    ]
    return sorted(found, key=lambda each: (-each.num_customers, each.segment))


def names_for(
    portraits: Sequence[Portrait], *, in_use: Mapping[int, str] | None = None, unclear: int | None = None
) -> dict[int, str]:
    """A name for each segment, no two alike: of the two words that say most, the first still free; the largest segment first.

    A number that is in use keeps its name while both of its words hold. Segments that no words tell apart are counted.
    `unclear` is the segment of those in no cluster.
    """
    named = {unclear: UNCLEAR} if unclear is not None else {}
    for portrait in portraits:
        name = (in_use or {}).get(portrait.segment)
        if portrait.segment != unclear and name and name not in named.values() and _holds(name, portrait):
            named[portrait.segment] = name
    for portrait in portraits:
        if portrait.segment not in named:
            free = (name for name in _names(portrait, LEAST) if name not in named.values())
            named[portrait.segment] = next(free)
    return named


def sets_apart(portrait: Portrait) -> list[str]:
    """The differences that give words, the largest first: `more orders (+1.4)`, in standard deviations of all customers."""
    largest = sorted(portrait.differences.items(), key=lambda item: (-abs(item[1]), item[0]))
    told = [
        (WORDS[trait][difference < 0].difference, difference)
        for trait, difference in largest
        if abs(difference) >= LEAST
    ]
    return [f"{words} ({difference:+.1f})" for words, difference in told]


def _names(portrait: Portrait, least: float) -> Iterator[str]:
    """What it may be called, the most telling first, without end."""
    if not portrait.has_bought:
        yield NEVER_BOUGHT
    yield from _two_words(portrait, least)
    plain = ALIKE if portrait.has_bought else NEVER_BOUGHT
    yield plain
    yield from (f"{plain} {number}" for number in itertools.count(2))


def _two_words(portrait: Portrait, least: float) -> list[str]:
    """An adjective of one trait and a noun of another, or one of them alone, by the sum of the differences."""
    strength = {trait: abs(portrait.differences[trait]) for trait in portrait.words}
    words = {
        trait: portrait.words[trait][portrait.differences[trait] < 0]
        for trait in portrait.words
        if strength[trait] >= least
    }
    usual = "customers" if portrait.has_bought else NEVER_BOUGHT
    found = [(strength[trait], 0.0, f"{word.adjective} {usual}") for trait, word in words.items()]
    for trait, word in words.items():
        if word.noun:
            found.append((strength[trait], strength[trait], word.noun))
            # Of two, the noun is the one that says more.
            found += [
                (strength[trait] + strength[other], strength[trait], f"{words[other].adjective} {word.noun}")
                for other in words
                if (other in RHYTHM) != (trait in RHYTHM)
            ]
    return [name for *_, name in sorted(found, key=lambda each: (-each[0], -each[1], each[2]))]


def _holds(name: str, portrait: Portrait) -> bool:
    """Whether it would be one of the segment's names at the lower limit."""
    plain = name.rstrip(" 0123456789")
    if plain == NEVER_BOUGHT:
        return not portrait.has_bought
    if plain == ALIKE:
        return portrait.has_bought and not _two_words(portrait, LEAST)
    return name in _two_words(portrait, STILL)
