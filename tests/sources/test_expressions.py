"""SQL in a mapping: what it may say, and what a record that does not fit becomes."""

import re
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.sources.allowed_sql import FUNCTIONS
from clm_spark.sources.expressions import evaluated, looks_like_sql, parsed

REFUSED = [
    ("case when", "is no SQL expression"),
    ("rand() < 0.5", "rand is not allowed"),
    ("current_date()", "current_date is not allowed"),
    ("java_method('java.lang.System', 'exit', 1)", "java_method is not allowed"),
    ("to_number(quantity, '9')", "to_number is not allowed"),
    ("identifier('quan' || 'tity')", "is not allowed"),
    ("transform(array(1), user -> user)[0]", "transform is not allowed"),
    ("frobnicate(order_id)", "frobnicate is not allowed"),
    ("(select max(quantity) from t)", "looks at more than one record"),
    ("sum(quantity) over ()", "looks at more than one record"),
    ("count(*)", "count is not allowed"),
    ("max(quantity)", "max is not allowed"),
    ("split(order_id, '-')", "gives array<string>"),
    ("upper(order_id, 'x', 'y')", "Spark refuses"),
    ("order_id rlike '('", "Spark refuses"),
    ("split_part(order_id, '-', 0)", "Spark refuses"),
    ("regexp_replace(order_id, quantity, '')", "takes a pattern, a format or a place from a column"),
    ("date'today' > date(order_id)", "depends on the day of the reading"),
    ("cast('now' as timestamp) > timestamp(order_id)", "depends on the day of the reading"),
    ("quantity < `unit price`", "compares quantity and unit price as texts"),
    ("greatest(quantity, order_id)", "compares quantity and order_id as texts"),
]
ROWS = [("C1", "-2", "2,50"), ("7", "3", "x"), ("8", "-0.5", None), ("9", "abc", "1"), (None, None, "1")]


def values_of(spark, text: str, *, wanted: str = "string", numbers: set[str] = frozenset()) -> list[object]:
    rows = spark.createDataFrame([(n, *row) for n, row in enumerate(ROWS)], "n int, a string, b string, c string")
    expression = parsed(spark, "mapping shop, kind", text, wanted=wanted, number_columns=numbers)
    cells = {"order_id": F.col("a"), "quantity": F.col("b"), "unit price": F.col("c"), "user.id": F.col("a")}
    read = {path: cells[path] for path in expression.columns}
    out = evaluated(rows, expression, name="value", cells=read, wanted=wanted)
    assert out.columns == ["n", "a", "b", "c", "value", "value_unreadable"]
    return [
        row.value if row.value_unreadable is None else f"unreadable: {row.value_unreadable}"
        for row in out.orderBy("n").collect()
    ]


def test_an_expression_reads_text_and_numbers_and_never_stops_a_run(spark):
    no_number = "unreadable: abc"
    sold = "case when quantity < 0 or order_id like 'C%' then 'refund' else 'purchase' end"
    assert values_of(spark, sold) == ["refund", "purchase", "refund", no_number, "purchase"]
    assert values_of(spark, "abs(quantity) * 2") == ["4.000000", "6.000000", "1.000000", no_number, None]
    assert values_of(spark, "concat(user.id, '-', `unit price`)") == ["C1-2,50", "7-x", None, "9-1", None]
    assert values_of(spark, "order_id is not null", wanted="boolean") == [True, True, True, True, False]
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"


def test_a_column_is_a_number_where_it_is_counted_with_and_a_text_elsewhere(spark):
    def counted(text: str, numbers: set[str] = frozenset()) -> set[str]:
        return set(parsed(spark, "mapping shop, kind", text, number_columns=numbers).numbers)

    assert counted("concat(quantity, '-', order_id)") == set()
    assert counted("case when quantity < 0 then concat(order_id, '-') end") == {"quantity"}
    assert counted("total - coalesce(discount, 0)") == {"total", "discount"}
    assert counted("case when paid < total then total else 0 end") == {"paid", "total"}
    assert counted("case when paid < total then 'refund' end", {"total"}) == {"paid", "total"}
    assert counted("least(paid, total)", {"total"}) == {"paid", "total"}
    assert counted("if(a like '-%', b * 1, c)") == {"b", "c"}
    assert counted("date_add(date(day), 1) > date'2024-01-01'") == set()
    assert counted("cast(price as decimal(10, 2)) > 0") == {"price"}


def test_arithmetic_without_a_result_is_no_number(spark):
    assert values_of(spark, "`unit price` / 0") == [
        "unreadable: 2,50",
        "unreadable: x",
        None,
        "unreadable: `unit price` / 0",
        "unreadable: `unit price` / 0",
    ]
    given = values_of(spark, "case when quantity > 0 then quantity end")
    assert given == [None, "3.000000", None, "unreadable: abc", None]


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_no_look_at_one_record_is_refused(spark, text, expected):
    with pytest.raises(SettingsError, match="mapping shop, kind") as error:
        values_of(spark, text)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_every_function_that_is_allowed_is_one_of_spark(spark):
    known = {row.function for row in spark.sql("SHOW FUNCTIONS").collect()}
    assert known >= FUNCTIONS


def test_the_guide_lists_every_function_that_is_allowed():
    guide = (Path(__file__).parents[2] / "docs" / "your-own-log.md").read_text("utf-8")
    listed = guide[guide.index("These functions may be used") : guide.index("## 3.")]
    assert {*re.findall(r"`(\w+)`", listed)} == {*FUNCTIONS, "cast", "like"}


def test_a_condition_is_true_or_false(spark):
    with pytest.raises(SettingsError, match="expected a condition of one record"):
        values_of(spark, "order_id", wanted="boolean")


def test_names_of_columns_are_no_sql():
    assert not any(map(looks_like_sql, ("unit price", "user.id", "is_new", "Case No", "时间", "a-b", "e_mail")))
    assert all(map(looks_like_sql, ("a + b", "trim(a)", "case when a then b end", "a is null", "a - b", "'x'")))
