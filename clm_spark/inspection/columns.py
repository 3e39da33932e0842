"""The columns of a sample, and how well each suits a field of an event."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from clm_spark.inspection.numbers import MONEY
from clm_spark.inspection.times import NUMBER, time_formats
from clm_spark.inspection.vocabulary import ID_BY_ITSELF, IDS, KIND_OF, NO_IDS, SYNONYMS, parts_of, plain_word
from clm_spark.sources.formats import NULL_WORDS, NUMBER_FIELDS

NEARLY_ALL = 0.95
MOST_SHOWN = 40  # characters of a value
IDS_OF_SOMETHING = ("customer_id", "visitor_id", "item_id", "order_id", "campaign_id", "source_session_id")
BY_NAME = {"item_id": {"name", "title"}, "campaign_id": {"name"}}  # what stands for an id where there is none


@dataclass(frozen=True)
class ColumnSample:
    """A column's texts, one a record; none where it is blank or a word for nothing."""

    name: str
    texts: tuple[str | None, ...]

    @cached_property
    def values(self) -> tuple[str, ...]:
        """What there is."""
        return tuple(text for text in self.texts if text is not None)

    @property
    def empty_share(self) -> float:
        """Records without a value."""
        return 1 - len(self.values) / len(self.texts)

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each text comes."""
        return Counter(self.values)

    @property
    def is_unique(self) -> bool:
        """Whether no text comes twice."""
        return len(self.counts) == len(self.values) > 1

    @property
    def is_constant(self) -> bool:
        """Whether several records have the same text."""
        return len(self.counts) == 1 < len(self.values)

    @cached_property
    def is_number(self) -> bool:
        """Whether nearly all are numbers, however they are written."""
        return self._are(MONEY)

    @cached_property
    def is_plain_number(self) -> bool:
        """Whether nearly all are numbers as Spark reads them."""
        return self._are(NUMBER)

    @cached_property
    def is_email(self) -> bool:
        """Whether nearly all are e-mail addresses."""
        return self._are(re.compile(r"^[^@\s]+@[^@\s]+\.[^@\s]+$"))

    @cached_property
    def time_formats(self) -> tuple[str, ...]:
        """Formats by which nearly all are times; several where days and months cannot be told apart."""
        return time_formats(self.values)

    @cached_property
    def kinds_share(self) -> float:
        """Values that are a word for what happened."""
        known = sum(num for word, num in self.counts.items() if plain_word(word) in KIND_OF)
        return known / len(self.values) if self.values else 0.0

    @cached_property
    def field_scores(self) -> dict[str, int]:
        """How well its name suits each field: 3 the name itself, 2 a part of it."""
        whole = {plain_word(self.name), plain_word(self.name.rsplit(".", 1)[-1])}
        scores = {
            field: 3 if whole & names else 2 if self._has_part(field, names) else 0 for field, names in SYNONYMS.items()
        }
        return {field: score for field, score in scores.items() if score}

    def _has_part(self, field: str, names: frozenset[str]) -> bool:
        parts = parts_of(self.name)
        found = parts & names
        if field in NUMBER_FIELDS:
            return bool(found) and not parts & IDS
        if field not in IDS_OF_SOMETHING:
            return bool(found)
        is_id = parts & (IDS | BY_NAME.get(field, set())) or any(map(ID_BY_ITSELF.search, found))
        return bool(found and is_id) and not parts & NO_IDS

    def _are(self, pattern: re.Pattern[str]) -> bool:
        return sum(pattern.match(text) is not None for text in self.values) > NEARLY_ALL * len(self.values)


def columns_of(records: Sequence[dict[str, str | None]], names: Sequence[str]) -> dict[str, ColumnSample]:
    """Every column of a sample."""
    words = {word.strip() for word in NULL_WORDS}
    found = {}
    for name in names:
        texts = [(record[name] or "").strip() for record in records]
        found[name] = ColumnSample(name, tuple(None if text in words else text for text in texts))
    return found
