"""Which column of a sample is which field of an event."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from clm_spark.inspection.columns import ColumnSample
from clm_spark.inspection.vocabulary import is_personal, plain_word
from clm_spark.sources.formats import NUMBER_FIELDS

TIMES = ("occurred_at", "known_at", "sent_at")
WHO = ("customer_id", "visitor_id")
# In this order: what must be there is chosen first.
FIELDS = (
    *("occurred_at", "customer_id", "visitor_id", "item_id", "kind", "order_id", "event_id", "quantity", "price"),
    *(
        "amount",
        "discount",
        "tax",
        "shipping",
        "category",
        "brand",
        "known_at",
        "sent_at",
        "campaign_id",
        "source_session_id",
    ),
)
MUST_BE_RIGHT = ("customer_id", "item_id", "amount", "price", "quantity")
MOST_KINDS = 30


@dataclass(frozen=True)
class Choice:
    """The column of a field, what speaks for it, and others with as good a name."""

    field: str
    column: str
    why: str
    as_good: tuple[str, ...]


def choices(columns: Mapping[str, ColumnSample]) -> Iterator[Choice]:
    """The column of each field that one suits, the best; a column is given once."""
    left = dict(columns)
    chosen: dict[str, ColumnSample] = {}
    for name in FIELDS:
        suits = {column: _suits(name, left[column]) for column in left}
        best = max(suits, key=lambda column: suits[column], default=None)
        if best is None or suits[best] <= 0 or not _goes_with(name, left[best], chosen):
            continue
        score = left[best].field_scores.get(name, 0)
        why = "its name" if score == 3 else "a part of its name" if score else "what it holds"
        as_good = [column for column in left if column != best and _is_as_good(name, left[column], than=left[best])]
        chosen[name] = left.pop(best)
        yield Choice(name, best, why, tuple(as_good))


def _goes_with(name: str, column: ColumnSample, chosen: Mapping[str, ColumnSample]) -> bool:
    """Whether another time of the record can be read beside the first: all of a log have one format."""
    if name not in ("known_at", "sent_at"):
        return True
    needed = ("occurred_at", "known_at") if name == "sent_at" else ("occurred_at",)
    return all(each in chosen and chosen[each].time_formats == column.time_formats for each in needed)


def _is_as_good(name: str, column: ColumnSample, *, than: ColumnSample) -> bool:
    """Whether a column has just as good a name for a field that matters."""
    scores = {each.field_scores.get(name, 0) for each in (column, than)}
    return name in MUST_BE_RIGHT and len(scores) == 1 and _suits(name, column) > 2


def _suits(name: str, column: ColumnSample) -> float:
    """How well a column suits a field by its name and by what it holds; 0: not at all."""
    score = column.field_scores.get(name, 0)
    if not column.values:
        return 0
    if name in TIMES:
        return _suits_as_time(name, column, score)
    if name == "customer_id" and not score and column.is_email:
        return 1
    if not score and plain_word(column.name) == "id":
        # Nothing but `id`: of whom comes again, of the record where none does.
        score = 1 if name == ("event_id" if column.is_unique else "customer_id") else 0
    if not score:
        return 0
    if name in NUMBER_FIELDS:
        return score if column.is_number else 0
    if name == "event_id":
        return score if column.is_unique else 0
    if name == "kind":
        is_known = score == 3 or column.kinds_share > 0
        return score + column.kinds_share if is_known and len(column.counts) <= MOST_KINDS else 0
    if name == "item_id":
        return score - column.kinds_share
    if name == "source_session_id" and set(column.counts) <= {"0", "1"}:
        return 0  # whether there was a visit
    return _suits_as_somebody(column, score) if name in WHO else score


def _suits_as_time(name: str, column: ColumnSample, score: float) -> float:
    """A number is a time only where its name says so."""
    if not column.time_formats or (not score and (name != "occurred_at" or column.is_plain_number)):
        return 0
    return score + (0.5 if name == "occurred_at" else 0) + (0.4 if "iso" in column.time_formats else 0)


def _suits_as_somebody(column: ColumnSample, score: float) -> float:
    """Who comes once each is more likely the order, and who is often missing is not the one that the log goes by."""
    again = 1 - len(column.counts) / len(column.values)
    return score + 0.5 * again - 0.6 * column.is_constant - column.empty_share - is_personal(column.name)
