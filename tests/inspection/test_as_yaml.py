"""The file says what the draft says, whatever stands in the log."""

import csv
import io

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clm_spark.inspection.as_yaml import mapping_yaml, questions_yaml, shown
from clm_spark.inspection.draft import draft_of
from clm_spark.inspection.sample import Sample
from clm_spark.sources.mapping import read_mapping
from clm_spark.sources.text import column_names

DAY = "2024-01-01T10:00:00Z"
names = st.text(max_size=12)
one_line = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=12)
values = st.one_of(names, st.sampled_from(["1,50", "-1", "1.299", "\x1b[31mred", "view", "a: b # c", "x\ny"]))
ODD = [
    "#",
    "a: b",
    " - x",
    "yes",
    "null",
    "~",
    "01",
    "'",
    '"',
    "\\",
    "{a}",
    "[b]",
    "!t",
    "&a",
    "*a",
    "%",
    "@",
    "`",
    "?",
    "\u2028",
    "\x85",
]
any_log = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(tmp_path, sample: Sample):
    draft = draft_of(sample)
    text = questions_yaml(draft) + mapping_yaml(sample, draft)
    assert shown(text.replace("\n", "")) == text.replace("\n", "")
    file = tmp_path / "draft.yml"
    file.write_text(text, "utf-8")
    return draft, read_mapping(str(file))


def as_tuples(recipes: dict) -> dict:
    return {name: (recipe,) if isinstance(recipe, str) else tuple(recipe) for name, recipe in recipes.items()}


def check(draft, mapping):
    assert as_tuples(draft.fields) == mapping.fields
    assert as_tuples(draft.keys.get("attributes", {})) == mapping.attributes
    assert tuple(draft.keys.get("ignored", ())) == mapping.ignored
    assert draft.keys.get("kinds", {}) == mapping.kinds
    assert draft.keys.get("kind") == mapping.kind


@any_log
@given(st.lists(one_line, max_size=6), st.lists(values, min_size=6, max_size=6), st.sampled_from(",;\t|"))
@example(ODD, ["x"] * len(ODD), ",")
@example(["kind"], ["a # b: c"] * 6, ",")
def test_any_header_is_read_back(tmp_path, odd, row, separator):
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="").writerow(["when", "who", *odd])
    columns = tuple(column_names(line.getvalue(), separator=separator))
    cells = [DAY, "u1", *row]
    record = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
    records = (dict.fromkeys(columns) | record,) * 2
    draft, mapping = written(
        tmp_path,
        Sample("csv", ("log",), 1, columns, records, separator=separator, header=line.getvalue()),
    )
    assert (mapping.header, mapping.separator, mapping.names) == (line.getvalue(), separator, columns)
    check(draft, mapping)


@any_log
@given(st.lists(names, max_size=6, unique=True), st.lists(values, min_size=6, max_size=6))
@example(ODD, ["x"] * len(ODD))
@example(["price (EUR)", "a.b", "what\never", "\ud800"], ["1", "[red]", "x\ny", "\ud800", "", ""])
def test_any_members_of_json_are_read_back(tmp_path, odd, row):
    columns = tuple(dict.fromkeys(("when", "who", "category", "event", *odd)))
    shown_values = {"category": row[0], "event": row[1]}
    record = dict.fromkeys(columns) | dict(zip(odd, row, strict=False)) | shown_values | {"when": DAY, "who": "u1"}
    check(*written(tmp_path, Sample("jsonl", ("log",), 1, columns, (record,) * 2)))


@any_log
@given(st.lists(names, min_size=1, max_size=6, unique=True))
@example(ODD)
@example(["what\never: [x", "\ud800", "\x00"])
def test_any_name_may_stand_in_a_question(tmp_path, odd):
    record = dict.fromkeys(odd, "x")
    draft = draft_of(Sample("jsonl", ("log",), 1, tuple(odd), (record,), open_questions=tuple(odd)))
    text = questions_yaml(draft) + mapping_yaml(Sample("jsonl", ("log",), 1, tuple(odd), (record,)), draft)
    assert yaml.safe_load(text) == draft.keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Größe 商品 €", "Größe 商品 €"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202eabc\u2028", r"\u202eabc\u2028"),
        ("[red]", "[red]"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_commands_a_terminal_is_shown_as_text(text, expected):
    assert shown(text) == expected
