"""What happened, by the log's words for it or by the signs of its figures."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from clm_spark.inspection.choice import MOST_KINDS
from clm_spark.inspection.columns import MOST_SHOWN, ColumnSample
from clm_spark.inspection.numbers import is_below_zero
from clm_spark.inspection.vocabulary import KIND_OF, plain_word
from clm_spark.sources.expressions import sql_name

SIZES = ("quantity", "amount", "price")
MOST_WORDS = 10
MOSTLY_KINDS = 0.5  # of a column's values; the others are words of the shop's own, such as pending


@dataclass(frozen=True)
class Kinds:
    """What the mapping says of kinds, and why."""

    rule: str = ""  # one kind, or an expression; none where a column says it
    words: dict[str, str] = field(default_factory=dict)  # the log's: ours, where they differ
    counts: dict[str, int] = field(default_factory=dict)
    reason: str = ""
    open_questions: tuple[str, ...] = ()


def kind_of(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str]) -> Kinds:
    """The kinds by their column where there is one; else what is sold is a purchase, and below zero a return."""
    below = [size for name in SIZES if name in chosen and _is_ever_below(size := columns[chosen[name]])]
    if "kind" in chosen:
        return _by_words(columns[chosen["kind"]], below)
    asked = (*_returns_in_another_column(columns, chosen),)
    if not {"order_id", *SIZES} & set(chosen):
        return Kinds(
            "view", reason="no column says what happened, and nothing seems to be sold: every record is a view"
        )
    is_sure = {"order_id", "quantity", "amount"} & set(chosen)
    questions = (
        () if is_sure else (f"whether a record is a purchase, as it has {chosen['price']}: if not, write kind: view",)
    )
    if not below:
        reason = "no column says what happened: every record is a purchase"
        return Kinds("purchase", reason=reason, open_questions=(*questions, *asked))
    is_return = " or ".join(f"{sql_name(size.name)} < 0" for size in below)
    num = sum(map(is_below_zero, below[0].values))
    return Kinds(
        f"case when {is_return} then 'refund' else 'purchase' end",
        reason=f"{num} of {len(below[0].texts)} records are below zero in {below[0].name}: they are returns",
        open_questions=(*questions, *asked),
    )


def _returns_in_another_column(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str]) -> Iterator[str]:
    """A column such as the order's status, which tells what was cancelled or sent back."""
    for column in columns.values():
        returns = [word for word in column.counts if KIND_OF.get(plain_word(word)) == "refund"]
        if column.name in chosen.values() or not returns or column.kinds_share < MOSTLY_KINDS:
            continue
        words = ", ".join(f"{word[:MOST_SHOWN]} ({num})" for word, num in column.counts.most_common(MOST_WORDS))
        yield (
            f"what {column.name} says of a record, which counts as a purchase whatever stands there: {words}; write fields.kind: "
            f"{column.name} and its words under kinds, or leave some of them out by `filter`"
        )


def _is_ever_below(size: ColumnSample) -> bool:
    return any(map(is_below_zero, size.values))


def _by_words(column: ColumnSample, below: list[ColumnSample]) -> Kinds:
    words = column.counts
    meant = {word: KIND_OF[plain_word(word)] for word in words if plain_word(word) in KIND_OF}
    return Kinds(
        words={word: kind for word, kind in meant.items() if word.lower() != kind},
        counts=dict(words.most_common(MOST_KINDS)),
        open_questions=(*_unknown_words(column, meant), *_returns_by_another_word(column, below)),
    )


def _unknown_words(column: ColumnSample, meant: Mapping[str, str]) -> Iterator[str]:
    unknown = [f"{word[:MOST_SHOWN]} ({num})" for word, num in column.counts.most_common() if word not in meant]
    if unknown:
        more = f" and {len(unknown) - MOST_WORDS} more" if len(unknown) > MOST_WORDS else ""
        yield (
            f"what these words of {column.name} mean: {', '.join(unknown[:MOST_WORDS])}{more}: write it under kinds, or "
            "leave them out by `filter`"
        )


def _returns_by_another_word(column: ColumnSample, below: list[ColumnSample]) -> Iterator[str]:
    for size in below:
        words = [word for word, text in zip(column.texts, size.texts, strict=True) if text and is_below_zero(text)]
        num = sum(KIND_OF.get(plain_word(word or "")) != "refund" for word in words)
        if num:
            yield (
                f"{num} records are below zero in {size.name}, and {column.name} does not call them returns: they are "
                "rejected as negative_quantity, unless `kind` is an expression that says what they are"
            )
