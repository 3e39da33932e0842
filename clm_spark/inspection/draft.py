"""A draft of the mapping, from a sample: what each column seems to be, why, and what could not be decided."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from clm_spark.inspection.columns import (
    KIND_OF,
    MOST_KINDS,
    ColumnSample,
    columns_of,
    number_signs,
    plain_word,
)
from clm_spark.inspection.sample import Sample
from clm_spark.settings import IngestSettings
from clm_spark.sources.formats import NUMBER_FIELDS
from clm_spark.sources.mapping import ADDRESS, ENDINGS
from clm_spark.sources.text import column_names

# In this order: what must be there is chosen first.
FIELDS = (
    *("occurred_at", "customer_id", "visitor_id", "item_id", "kind", "order_id", "event_id", "quantity", "price"),
    *("amount", "discount", "category", "brand", "known_at", "sent_at", "campaign_id", "source_session_id"),
)
MUST_BE_RIGHT = ("customer_id", "item_id", "amount", "price", "quantity")
MOST_ATTRIBUTES = 30
PERSONAL = re.compile(r"mail|phone|name|street|birth|address|passwo|iban|ip$|^ip", re.IGNORECASE)


@dataclass
class Draft:
    """The keys of a mapping, why each column was taken for what it is, and what the user has to decide."""

    keys: dict[str, object]
    reasons: dict[str, str] = field(default_factory=dict)  # by field
    open_questions: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)  # the log's words with their counts

    @property
    def fields(self) -> dict[str, str | list[str]]:
        """The columns of each field."""
        found = self.keys["fields"]
        assert isinstance(found, dict)
        return found


def draft_of(sample: Sample) -> Draft:
    """The draft; it reads as it is where nothing is left open."""
    columns = columns_of(sample.records, sample.columns)
    draft = Draft({"format": sample.format})
    _place(sample, draft)
    chosen = dict(_chosen({name: columns[name] for name in sample.usual_columns}, draft))
    if "occurred_at" not in chosen:
        draft.open_questions.append(
            f"no column was found to be a time ({_listed(columns)}): write fields.occurred_at, and time_format"
        )
    if not {"customer_id", "visitor_id"} & set(chosen):
        draft.open_questions.append(
            f"no column was found to be the customer ({_listed(columns)}): write fields.customer_id or fields.visitor_id"
        )
    _times(columns, chosen, draft)
    _numbers(columns, chosen, draft)
    draft.keys["fields"] = {name: _names(column, chosen, sample, draft) for name, column in chosen.items()}
    _kind(columns, chosen, draft)
    _customers(columns, chosen, draft)
    _attributes(columns, chosen, sample, draft)
    if sample.num_spanning_lines:
        draft.open_questions.append(
            f"{sample.num_spanning_lines} records of the sample have line breaks inside quotes: such lines are rejected as "
            "unparsable; write the log without them"
        )
    return draft


def _place(sample: Sample, draft: Draft) -> None:
    """Where and how records stand in the files."""
    if not sample.files[0].endswith(ENDINGS[sample.format]):
        draft.keys["endings"] = [f".{sample.files[0].rsplit('.', 1)[-1]}"]
    if sample.format == "csv":
        draft.keys |= {"header": sample.header} if sample.header is not None else {"columns": list(sample.columns)}
        if sample.separator != ",":
            draft.keys["separator"] = sample.separator
    if sample.encoding != "utf-8":
        draft.keys["encoding"] = sample.encoding


def _chosen(columns: Mapping[str, ColumnSample], draft: Draft) -> Iterator[tuple[str, str]]:
    """Field and column, the best first; a column is given once."""
    left = dict(columns)
    for name in FIELDS:
        suits = {column: _suits(name, left[column]) for column in left}
        best = max(suits, key=lambda column: suits[column], default=None)
        if best is None or suits[best] <= 0:
            continue
        score = left[best].field_scores.get(name, 0)
        why = "its name" if score == 3 else "a part of its name" if score else "what it holds"
        alike = [column for column in left if column != best and _is_as_good(name, left[column], than=left[best])]
        if alike:
            draft.open_questions.append(f"{name} is {best}, or {' or '.join(alike)}: the names say the same")
        examples = ", ".join(list(left[best].counts)[:3])
        draft.reasons[name] = f"{best}: by {why}; {examples}"
        del left[best]
        yield name, best


def _is_as_good(name: str, column: ColumnSample, *, than: ColumnSample) -> bool:
    """Whether a column has just as good a name for a field that matters."""
    scores = (each.field_scores.get(name, 0) for each in (column, than))
    return name in MUST_BE_RIGHT and len(set(scores)) == 1 and _suits(name, column) > 2


def _suits(name: str, column: ColumnSample) -> float:
    """How well a column suits a field by its name and by what it holds; 0: not at all."""
    score: float = column.field_scores.get(name, 0)
    if name in ("occurred_at", "known_at", "sent_at"):
        if not column.time_formats:
            return 0
        return score + (0.5 if name == "occurred_at" else 0) + (0.4 if "iso" in column.time_formats else 0)
    if not score and plain_word(column.name) == "id":
        # Nothing but `id`: of whom comes again, of the record where none does.
        score = 1 if name == ("event_id" if column.is_unique else "customer_id") else 0
    if not score or not column.values:
        return 0
    if name in NUMBER_FIELDS:
        return score if column.is_number else 0
    if name == "event_id":
        return score if column.is_unique else 0
    if name == "kind":
        return score + _share_of_kinds(column) if len(column.counts) <= MOST_KINDS else 0
    if name == "item_id":
        return score - _share_of_kinds(column)
    if name in ("customer_id", "visitor_id"):
        # Who comes once each is more likely the order, and who is often missing is not the one that the log goes by.
        again = 1 - len(column.counts) / len(column.values)
        personal = 1 if PERSONAL.search(column.name) else 0
        return score + 0.5 * again - column.num_empty / column.num_records - personal
    return score


def _share_of_kinds(column: ColumnSample) -> float:
    known = sum(num for word, num in column.counts.items() if plain_word(word) in KIND_OF)
    return known / len(column.values)


def _times(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    if "occurred_at" not in chosen:
        return
    column = columns[chosen["occurred_at"]]
    formats = column.time_formats
    draft.keys["time_format"] = formats[0]
    if len(formats) > 1:
        draft.open_questions.append(
            f"{column.name} may be {' or '.join(formats[:2])} ({column.values[0]}): the first is written down, change "
            "time_format if it is the other"
        )
    if not re.search(r"Z$|[+-]\d\d:?\d\d$|UTC|GMT", column.values[0]) and "epoch" not in formats[0]:
        draft.reasons["time_zone"] = "the times name no zone: UTC is taken; write time_zone if they are a shop's own"
    for name in ("known_at", "sent_at"):
        if name in chosen and columns[chosen[name]].time_formats != formats:
            draft.open_questions.append(
                f"{chosen[name]} is written in another way than {column.name}: leave out {name}"
            )


def _numbers(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    for name in ("amount", "price", "discount", "quantity"):
        if name not in chosen or draft.keys.get("format") != "csv":
            continue
        decimal, thousands, question = number_signs(columns[chosen[name]].values)
        if question:
            draft.open_questions.append(f"{chosen[name]}: {question}")
        if decimal and "decimal" not in draft.keys:
            draft.keys["decimal"] = decimal
        if thousands and "thousands" not in draft.keys:
            draft.keys["thousands"] = thousands
    if draft.keys.get("decimal") == "," and "thousands" not in draft.keys:
        draft.keys["thousands"] = "."


def _names(column: str, chosen: Mapping[str, str], sample: Sample, draft: Draft) -> object:
    """A column, with the name that other files have for it where exactly one of theirs is left over."""
    for header in sample.other_headers:
        theirs = column_names(header, separator=sample.separator)
        left = [name for name in theirs if name not in sample.usual_columns and name not in chosen.values()]
        alike = [name for name in left if _words(column) & _words(name)]
        if column not in theirs and len(alike) == 1:
            draft.reasons["renamed"] = f"{alike[0]} of some files seems to be {column} by another name"
            return [column, alike[0]]
    return column


def _words(name: str) -> set[str]:
    return {plain_word(word) for word in re.split(r"[\W_]|(?<=[a-z])(?=[A-Z])", name) if word}


def _kind(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    if "kind" in chosen:
        words = columns[chosen["kind"]].counts
        draft.kinds = dict(words.most_common(MOST_KINDS))
        meant = {word: KIND_OF[plain_word(word)] for word in words if plain_word(word) in KIND_OF}
        differing = {word: kind for word, kind in meant.items() if word.lower() != kind}
        if differing:
            draft.keys["kinds"] = differing
        unknown = [f"{word} ({num})" for word, num in words.items() if word not in meant]
        if unknown:
            draft.open_questions.append(
                f"what these words of {chosen['kind']} mean: {', '.join(unknown[:10])}: write it under kinds, or leave "
                "them out by `filter`"
            )
        return
    is_sold = bool({"order_id", "quantity", "amount"} & set(chosen))
    if not is_sold:
        draft.keys["kind"] = "view"
        draft.reasons["kind"] = "no column says what happened, and nothing seems to be sold: every record is a view"
        if "price" in chosen:
            draft.open_questions.append(
                f"whether a record is a view or a purchase ({chosen['price']} is there): see kind"
            )
        return
    sign = next(
        (
            chosen[name]
            for name in ("quantity", "amount", "price")
            if name in chosen and _is_below(columns[chosen[name]])
        ),
        None,
    )
    if sign is None:
        draft.keys["kind"] = "purchase"
        draft.reasons["kind"] = "no column says what happened: every record is a purchase"
        return
    written = sign if re.fullmatch(r"[A-Za-z_]\w*", sign) else f"`{sign}`"
    draft.keys["kind"] = f"case when {written} < 0 then 'refund' else 'purchase' end"
    num = sum(text.startswith(("-", "(")) for text in columns[sign].values)
    draft.reasons["kind"] = f"{num} records have a {sign} below zero: they are returns"


def _is_below(column: ColumnSample) -> bool:
    return any(re.match(r"^(?:-|\().*[1-9]", text) for text in column.values)


def _customers(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    """Those without a customer, and events without an item."""
    who = [columns[chosen[name]] for name in ("customer_id", "visitor_id") if name in chosen]
    if len(who) == 1 and who[0].num_empty:
        share = who[0].num_empty / who[0].num_records
        draft.reasons["guests"] = (
            f"{who[0].num_empty} of {who[0].num_records} records name no customer: they are rejected as missing_customer"
        )
        if share > IngestSettings().max_rejected_share:
            draft.open_questions.append(
                f"whether to go on without the {share:.0%} of the records that name no customer: a run then needs --set "
                f"ingest.max_rejected_share={min(1.0, share * 1.5):.2f}"
            )


def _attributes(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], sample: Sample, draft: Draft) -> None:
    """The other columns: attributes, but for those that may name a person."""
    used = {name for each in draft.fields.values() for name in ([each] if isinstance(each, str) else each)}
    who = columns[chosen["customer_id"]].values if "customer_id" in chosen else None
    others = [name for name in sample.usual_columns if name and name not in used]
    personal = [name for name in others if PERSONAL.search(name) or ADDRESS.search(name) or columns[name].values == who]
    kept = {_attribute(name): name for name in others if name not in personal and columns[name].values}
    if kept:
        draft.keys["attributes"] = dict(list(kept.items())[:MOST_ATTRIBUTES])
    if personal:
        draft.keys["ignored"] = personal
        draft.reasons["ignored"] = f"{', '.join(personal)} may name a person, or repeat the customer: left out"


def _attribute(column: str) -> str:
    return re.sub(r"\W+", "_", column).strip("_").lower() or "column"


def _listed(columns: Mapping[str, ColumnSample]) -> str:
    return ", ".join(columns)
