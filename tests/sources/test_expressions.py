"""SQL in a mapping: what it may say, and what a record that does not fit becomes."""

import pytest
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.sources.expressions import evaluated, looks_like_sql, parsed

REFUSED = [
    ("case when", "is no SQL expression"),
    ("rand() < 0.5", "rand is not allowed"),
    ("current_date()", "current_date is not allowed"),
    ("java_method('java.lang.System', 'exit', 1)", "java_method is not allowed"),
    ("(select max(quantity) from t)", "looks at more than one record"),
    ("sum(quantity) over ()", "looks at more than one record"),
    ("count(*)", "of one record"),
    ("max(quantity)", "of one record"),
    ("split(order_id, '-')", "gives array<string>"),
    ("frobnicate(order_id)", "frobnicate"),
    ("upper(order_id, 'x', 'y')", "Spark refuses"),
]
ROWS = [("C1", "-2", "2,50"), ("7", "3", "x"), ("8", "-0.5", None), ("9", "abc", "1"), (None, None, "1")]


def values_of(spark, text: str, *, type_: str = "string") -> list[object]:
    rows = spark.createDataFrame([(n, *row) for n, row in enumerate(ROWS)], "n int, a string, b string, c string")
    expression = parsed(spark, "mapping shop, kind", text)
    cells = {"order_id": F.col("a"), "quantity": F.col("b"), "unit price": F.col("c"), "user.id": F.col("a")}
    read = {path: cells[path] for path in expression.columns}
    out = evaluated(rows, {"value": expression}, cells=read, types={"value": type_})
    assert out.columns == ["n", "a", "b", "c", "value"]
    return [row.value for row in out.orderBy("n").collect()]


def test_an_expression_reads_text_and_numbers_and_never_stops_a_run(spark):
    sold = "case when quantity < 0 or order_id like 'C%' then 'refund' else 'purchase' end"
    assert values_of(spark, sold) == ["refund", "purchase", "refund", "purchase", "purchase"]
    assert values_of(spark, "abs(quantity) * 2") == ["4.000000", "6.000000", "1.000000", None, None]
    assert values_of(spark, "cast(order_id as int) / 0") == [None] * 5
    assert values_of(spark, "concat(user.id, '-', `unit price`)") == ["C1-2,50", "7-x", None, "9-1", None]
    assert values_of(spark, "order_id is not null", type_="boolean") == [True, True, True, True, False]
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_is_no_look_at_one_record_is_refused(spark, text, expected):
    with pytest.raises(SettingsError, match="mapping shop, kind") as error:
        values_of(spark, text)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_condition_is_true_or_false(spark):
    with pytest.raises(SettingsError, match="expected a condition of one record"):
        values_of(spark, "order_id", type_="boolean")


def test_names_of_columns_are_no_sql():
    assert not any(map(looks_like_sql, ("unit price", "user.id", "is_new", "Case No", "时间", "a-b", "e_mail")))
    assert all(map(looks_like_sql, ("a + b", "trim(a)", "case when a then b end", "a is null", "a - b", "'x'")))
