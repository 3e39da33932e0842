"""A draft of the mapping, from a sample: what each column seems to be, why, and what could not be decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from clm_spark.inspection.choice import WHO, choices
from clm_spark.inspection.columns import MOST_SHOWN, ColumnSample, columns_of
from clm_spark.inspection.kinds import kind_of
from clm_spark.inspection.numbers import NumberSigns, number_signs
from clm_spark.inspection.orders import totals_of_orders
from clm_spark.inspection.others import attributes_of, optional_of, with_other_names
from clm_spark.inspection.sample import Sample
from clm_spark.inspection.times import names_zone
from clm_spark.inspection.vocabulary import GUESTS
from clm_spark.settings import IngestSettings
from clm_spark.sources.expressions import looks_like_sql, sql_name
from clm_spark.sources.formats import NULL_WORDS

# Of these, values may stand in a file that is passed on. Ids of people and orders stay in the log.
SHOWN_VALUES = (
    *("occurred_at", "known_at", "sent_at", "item_id", "kind", "category", "brand"),
    *("quantity", "price", "amount", "discount", "tax", "shipping"),
)
NUMBERS = ("amount", "price", "discount", "tax", "shipping", "quantity")
MOST_NAMES = 12


@dataclass
class Draft:
    """The keys of a mapping, why each column was taken for what it is, and what the user has to decide."""

    keys: dict[str, object]
    reasons: dict[str, str] = field(default_factory=dict)  # by field or key
    notes: list[str] = field(default_factory=list)
    open_questions: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)  # the log's words with their counts

    @property
    def fields(self) -> dict[str, object]:
        """The columns of each field."""
        found = self.keys["fields"]
        assert isinstance(found, dict)
        return found

    @property
    def is_readable(self) -> bool:
        """Whether it has what no mapping can do without."""
        return "occurred_at" in self.fields and bool({*WHO} & set(self.fields))


def draft_of(sample: Sample) -> Draft:
    """The draft; it reads the log as it is where nothing is left open."""
    columns = columns_of(sample.records, sample.columns)
    draft = Draft({"format": sample.format}, open_questions=[*sample.open_questions])
    _place(sample, draft)
    chosen = _choose({name: columns[name] for name in sample.usual_columns if name}, draft)
    _times(columns, chosen, draft)
    _numbers(columns, chosen, sample, draft)
    _guests(columns, chosen, draft)
    named = {name: with_other_names(column, sample) for name, column in chosen.items()}
    draft.notes += [
        f"{each[1]} of some files seems to be {each[0]} by another name" for each in named.values() if each[1:]
    ]
    draft.keys["fields"] = {name: _recipe(names, sample, of_number=name in NUMBERS) for name, names in named.items()}
    _kind(columns, chosen, draft)
    draft.open_questions += totals_of_orders(columns, chosen)
    _others(columns, chosen, named, sample, draft)
    if sample.num_spanning_lines:
        draft.notes.append(f"{sample.num_spanning_lines} records have line breaks inside quotes: each is one record")
    return draft


def _place(sample: Sample, draft: Draft) -> None:
    """Where and how records stand in the files."""
    if sample.endings:
        draft.keys["endings"] = list(sample.endings)
    if sample.format == "csv":
        draft.keys |= {"header": sample.header} if sample.header is not None else {"columns": list(sample.columns)}
        if sample.separator != ",":
            draft.keys["separator"] = sample.separator
    if sample.encoding != "utf-8":
        draft.keys["encoding"] = sample.encoding


def _choose(columns: Mapping[str, ColumnSample], draft: Draft) -> dict[str, str]:
    """The column of each field."""
    chosen = {}
    for choice in choices(columns):
        chosen[choice.field] = choice.column
        draft.reasons[choice.field] = f"by {choice.why}{_examples(choice.field, columns[choice.column])}"
        if choice.as_good:
            draft.open_questions.append(
                f"{choice.field} is {choice.column}, or {' or '.join(choice.as_good)}: the names say the same"
            )
    draft.open_questions += _not_found(chosen, columns)
    return chosen


def _not_found(chosen: Mapping[str, str], columns: Mapping[str, ColumnSample]) -> list[str]:
    """What no mapping can do without."""
    session = chosen.get("source_session_id")
    instead = f"; {session} may stand for the visitor where the log knows no more" if session else ""
    needed = {}
    if "occurred_at" not in chosen:
        needed["a time"] = "fields.occurred_at and time_format"
    if not {*WHO} & set(chosen):
        needed["the customer"] = f"fields.customer_id or fields.visitor_id{instead}"
    if not needed:
        return []
    return [
        f"no column was found to be {' or '.join(needed)} ({_listed(columns)}): write {', and '.join(needed.values())}"
    ]


def _examples(name: str, column: ColumnSample) -> str:
    texts = [text[:MOST_SHOWN] for text in column.counts if "@" not in text][:3]
    return f"; {', '.join(texts)}" if name in SHOWN_VALUES and texts else ""


def _times(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    if "occurred_at" not in chosen:
        return
    column = columns[chosen["occurred_at"]]
    formats = column.time_formats
    draft.keys["time_format"] = formats[0]
    if len(formats) > 1:
        draft.open_questions.append(
            f"{column.name} may be {' or '.join(formats[:2])} ({column.values[0][:MOST_SHOWN]}): the first is written down, "
            "change time_format if it is the other"
        )
    if "epoch" not in formats[0] and not names_zone(column.values[0]):
        draft.notes.append("the times name no zone: UTC is taken; write time_zone if they are a shop's own")


def _numbers(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], sample: Sample, draft: Draft) -> None:
    """The signs of the log, and of each column that has others."""
    signs = {
        column: NumberSigns() if column in sample.number_columns else number_signs(columns[column].values)
        for column in (chosen[name] for name in NUMBERS if name in chosen)
    }
    usual = next((each.keys for each in signs.values() if each.keys), {})
    if not usual:
        draft.open_questions += [f"{column}: {each.question}" for column, each in signs.items() if each.question]
        return
    draft.keys |= {"thousands": ".", **usual} if usual.get("decimal") == "," else usual
    for column, each in signs.items():
        has_points = not each.question and any("." in text for text in columns[column].values)
        own = each.keys or ({"decimal": "."} if has_points else {})
        if own and own.get("decimal") != usual.get("decimal"):
            _format_of(column, draft).update(own)


def _format_of(column: str, draft: Draft) -> dict[str, object]:
    formats = draft.keys.setdefault("formats", {})
    assert isinstance(formats, dict)
    found: dict[str, object] = formats.setdefault(column, {})
    return found


def _guests(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    """Those without a customer, also where a word stands for none."""
    who = [columns[chosen[name]] for name in WHO if name in chosen]
    if not who:
        return
    words = {column.name: [word for word in column.counts if word.lower() in GUESTS] for column in who}
    for name, found in words.items():
        if found:
            _format_of(name, draft)["null_words"] = [*NULL_WORDS, *found]
    nobody = [None, *(word for found in words.values() for word in found)]
    rows = list(zip(*(column.texts for column in who), strict=True))
    num = sum(all(text in nobody for text in row) for row in rows)
    if not num:
        return
    share = num / len(rows)
    draft.notes.append(
        f"{num} of {len(rows)} records name no customer: they are rejected as missing_customer, unless ingest.guests is kept"
    )
    if share > IngestSettings().max_rejected_share:
        draft.open_questions.append(
            f"what to do with the {share:.0%} of the records that name no customer: --set ingest.guests=kept keeps their "
            "orders as events of no customer, which count in figures of items and of the shop; a run that is to go on without "
            f"them needs --set ingest.max_rejected_share={min(1.0, share * 1.5):.2f}"
        )


def _recipe(names: Sequence[str], sample: Sample, *, of_number: bool = False) -> str | list[str]:
    """A column as a mapping names it: in JSON and Parquet one whose name looks like SQL stands in backticks.

    To SQL a column is a number where it counts with it.
    """
    if len(names) > 1:
        return [*names]
    if sample.format == "csv" or not looks_like_sql(names[0]):
        return names[0]
    return f"{sql_name(names[0])} + 0" if of_number else sql_name(names[0])


def _kind(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], draft: Draft) -> None:
    of_kind = kind_of(columns, chosen)
    draft.kinds = of_kind.counts
    draft.keys |= {key: value for key, value in (("kind", of_kind.rule), ("kinds", of_kind.words)) if value}
    draft.open_questions += of_kind.open_questions
    if of_kind.reason:
        draft.reasons["kind"] = of_kind.reason


def _others(
    columns: Mapping[str, ColumnSample],
    chosen: Mapping[str, str],
    named: Mapping[str, Sequence[str]],
    sample: Sample,
    draft: Draft,
) -> None:
    """Attributes, what is left out, and what not every file has."""
    attributes, left_out = attributes_of(columns, chosen, sample)
    if attributes:
        draft.keys["attributes"] = {name: _recipe([column], sample) for name, column in attributes.items()}
        draft.reasons["attributes"] = "kept as they are, in the clear: take out what says who somebody is"
    optional, missing = optional_of(named, attributes, sample)
    if optional:
        draft.keys["optional"] = optional
        draft.reasons["optional"] = "not in every file"
    if left_out:
        draft.keys["ignored"] = left_out
        draft.reasons["ignored"] = "may name a person, or repeat the customer"
    draft.open_questions += [f"{column} is missing in some files: a run refuses these" for column in missing]


def _listed(names: Mapping[str, object]) -> str:
    listed = ", ".join([*names][:MOST_NAMES])
    return listed if len(names) <= MOST_NAMES else f"{listed} and {len(names) - MOST_NAMES} more"
