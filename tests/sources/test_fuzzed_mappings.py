"""Whatever stands in a mapping or in the first line of a file: it is read, or refused in one line."""

import contextlib

import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from clm_spark.errors import SettingsError, SourceError
from clm_spark.sources.mapped import MappedSource
from clm_spark.sources.mapping import Mapping, read_mapping
from clm_spark.sources.source import TEXT_FIELDS
from clm_spark.sources.text import FirstLine, _own_header

GOOD = {
    "format": "csv",
    "header": "when,who,what,sku",
    "fields": {"occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku"},
    "kinds": {"look": "view"},
    "attributes": {"device": "sku"},
}
scalars = st.one_of(st.text(max_size=12), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False))
names = st.one_of(st.sampled_from([*TEXT_FIELDS, "when", "who", "csv", "iso", "view", "a + b", "case when a"]), scalars)
values = st.recursive(
    names, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3))
)
changes = st.dictionaries(st.sampled_from(sorted(Mapping.model_fields)), values, max_size=4)
lines = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\r"), max_size=60)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes)
@example({"fields": {"occurred_at": []}})
@example({"fields": {"occurred_at": ["when", "sku"], "customer_id": [["who"]]}})
@example({"kind": "case when", "fields": {"occurred_at": "when", "customer_id": "who"}})
@example({"encoding": "no such"})
@example({"separator": ""})
@example({"fields": {"\n": []}})
def test_any_mapping_is_read_or_refused_in_one_line(tmp_path, change):
    file = tmp_path / "shop.yml"
    file.write_text(yaml.safe_dump(GOOD | change, allow_unicode=True), "utf-8")
    with one_line(SettingsError):
        MappedSource(read_mapping(str(file)), name="shop")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(lines, st.lists(lines, max_size=4).map("\n".join)))
@example("a: 1\na: 2")
@example("fields: &x {y: *x}")
@example("!!python/object:os.system x")
@example("\ufeffformat: csv")
@example("? [a, b]\n: c")
def test_any_text_is_a_mapping_or_refused_in_one_line(tmp_path, text):
    file = tmp_path / "shop.yml"
    file.write_text(text, "utf-8", newline="")
    with one_line(SettingsError):
        read_mapping(str(file))


@settings(max_examples=300, deadline=None)
@given(lines)
@example('"when","who","what","sku"')
@example('when,"who')
@example("when,who,what")
@example("when,who,what,sku,sku,")
def test_any_first_line_is_a_header_or_refused_in_one_line(line):
    wanted = FirstLine(
        headers=("when,who,what,sku",), needed=(("when",), ("who", "customer")), money=(("price", "total"),)
    )
    with one_line(SourceError):
        _own_header("log.csv", line, wanted)


@contextlib.contextmanager
def one_line(refusal: type[Exception]):
    message = ""
    try:
        yield
    except refusal as error:
        message = str(error)
    assert "\n" not in message
