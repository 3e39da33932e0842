"""Lines of JSON by the paths of their members."""

import pytest

from clm_spark.errors import SourceError
from clm_spark.inspection.beginning import Beginning
from clm_spark.inspection.objects import json_objects


def objects(text: str):
    return json_objects([Beginning("file:/log/a.jsonl", text, "utf-8")])


def test_members_are_called_by_their_paths_and_written_as_they_are():
    came = objects('{"user": {"id": 9007199254740993, "tags": ["a"]}, "price": 1.50, "ok": true, "none": null}\n')
    assert came.records == [
        {"user.id": "9007199254740993", "user.tags": '["a"]', "price": "1.50", "ok": "true", "none": None}
    ]


def test_only_what_is_always_a_number_is_one_by_its_type():
    came = objects('{"a": 1.299, "b": "1.299", "c": 1.299}\n{"a": null, "b": "5", "c": "1.299"}\n')
    assert came.number_columns == {"a"}


def test_lines_that_are_no_object_are_counted():
    deep = '{"a":' * 100_000
    came = objects(f'{{"a": "x\u2028y"}}\n\n[1]\n{{"a": \n{deep}\n"text"\n')
    assert (came.records, came.num_unreadable) == ([{"a": "x\u2028y"}], 4)


def test_no_object_at_all_is_one_line():
    with pytest.raises(SourceError, match="no line of it is an object: expected one object a line"):
        objects('{\n  "a": 1\n}\n')
