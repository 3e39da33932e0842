"""What becomes of the columns that are no field: attributes, those left out, and those that not every file has."""

import re
from collections.abc import Iterable, Mapping, Sequence

from clm_spark.inspection.choice import WHO
from clm_spark.inspection.columns import ColumnSample
from clm_spark.inspection.sample import Sample
from clm_spark.inspection.vocabulary import is_personal, parts_of
from clm_spark.sources.mapping import ADDRESS

MOST_ATTRIBUTES = 30
NOT_OPTIONAL = ("occurred_at", *WHO, "kind", "quantity", "price", "amount")


def with_other_names(column: str, sample: Sample) -> list[str]:
    """A column, with the name that other files have for it where exactly one of theirs is left over."""
    for theirs in sample.other_columns:
        left = [name for name in theirs if name not in sample.usual_columns]
        alike = [name for name in left if parts_of(column) & parts_of(name)]
        if column not in theirs and len(alike) == 1:
            return [column, alike[0]]
    return [column]


def attributes_of(
    columns: Mapping[str, ColumnSample], chosen: Mapping[str, str], sample: Sample
) -> tuple[dict[str, str], list[str]]:
    """Attributes by their names, and the columns that are left out as they may say who somebody is."""
    others = [name for name in sample.usual_columns if name and name not in chosen.values()]
    who = [columns[chosen[name]] for name in WHO if name in chosen]
    personal = [name for name in others if _may_name_somebody(columns[name], who)]
    kept = [name for name in others if name not in personal and columns[name].values][:MOST_ATTRIBUTES]
    return _named(kept), _with_objects(personal, {*chosen.values(), *kept}, sample)


def optional_of(
    fields: Mapping[str, Sequence[str]], attributes: Mapping[str, str], sample: Sample
) -> tuple[list[str], list[str]]:
    """The columns that may be missing in a file, and those that must not and are."""
    used = [*fields.items(), *(("", [column]) for column in attributes.values())]
    gone = [(name, names[0]) for name, names in used if any(not set(names) & set(of) for of in sample.other_columns)]
    return (
        [column for name, column in gone if name not in NOT_OPTIONAL],
        [column for name, column in gone if name in NOT_OPTIONAL],
    )


def _may_name_somebody(column: ColumnSample, who: Iterable[ColumnSample]) -> bool:
    """By its name, or as another id, an address, the customer's own or what holds it."""
    is_id = any(column.field_scores.get(name) == 3 for name in WHO)
    is_same = any(column.values and column.texts == each.texts for each in who)
    holds_it = any(each.name.startswith(f"{column.name}.") for each in who)
    has_address = column.is_email or ADDRESS.search(column.name) is not None
    return is_personal(column.name) or is_id or is_same or holds_it or has_address


def _with_objects(left_out: list[str], used: set[str], sample: Sample) -> list[str]:
    """With the JSON objects of which nothing is used: they would be new columns."""
    if sample.format == "csv":
        return left_out
    tops = {name.split(".")[0] for name in used}
    return [
        *dict.fromkeys(
            each for name in left_out for each in (name, name.split(".")[0]) if each == name or each not in tops
        )
    ]


def _named(columns: list[str]) -> dict[str, str]:
    """Attributes in small letters and digits; two never share a name."""
    found: dict[str, str] = {}
    for column in columns:
        name = plain = re.sub(r"\W+", "_", column).strip("_").lower()[:60] or "column"
        number = 1
        while name in found:
            number += 1
            name = f"{plain}_{number}"
        found[name] = column
    return found
