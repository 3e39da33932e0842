"""Spark SQL over the columns of a record: checked before anything is read, and never a reason for a run to stop."""

import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import and_
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import SettingsError
from clm_spark.session import in_zone
from clm_spark.sources.allowed_sql import (
    ARITHMETIC,
    CASE,
    CAST,
    CHOOSING,
    COLUMN,
    COMPARISONS,
    COUNTING,
    FUNCTION,
    FUNCTIONS,
    LITERAL,
    NODES,
    OF_MORE_RECORDS,
    ORDERING,
    ORDERINGS,
    PATTERNS,
    WRITTEN_OUT,
)

ANSI = "spark.sql.ansi.enabled"
SQL = re.compile(r"""[()'"=<>+*/%|`]|\s-\s|^\s*case\s+when\s|\bis\s+(not\s+)?null\b""", re.IGNORECASE)
# Spark replaces these words by the day of the reading.
OF_TODAY = re.compile(
    r"(?:date|timestamp\w*|cast)\s*\(?\s*r?'\s*(?:today|now|yesterday|tomorrow)\b"
    r"|'\s*(?:today|now|yesterday|tomorrow)\b[^']*'\s*::",
    re.IGNORECASE,
)
NUMBER = "decimal(38,6)"
UNREADABLE = "_unreadable"
WITH_OFFSET = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"
ARITHMETIC_ALONE = {COLUMN, LITERAL, CAST, *ARITHMETIC}


@dataclass(frozen=True)
class Expression:
    """An expression and the columns that it reads: as paths, and those of them that it counts with."""

    place: str  # of the mapping, for messages
    text: str
    columns: tuple[str, ...]
    numbers: frozenset[str]
    is_arithmetic: bool  # of columns and constants alone: null only where a column is, or it cannot be computed
    parts: Mapping[str, tuple[str, ...]]  # of each column's path, as SQL has it: a name in backticks may hold a dot
    is_time: bool = False  # its value is a timestamp


def sql_name(column: str) -> str:
    """A column in an expression; dots reach into objects."""
    if re.fullmatch(r"[A-Za-z_]\w*", column, re.ASCII):
        return column
    return ".".join("`" + part.replace("`", "``") + "`" for part in column.split("."))


def looks_like_sql(text: str) -> bool:
    """Whether a text that is no column is meant as an expression."""
    return SQL.search(text) is not None


def parsed(
    spark: SparkSession, place: str, text: str, *, wanted: str = "string", number_columns: Set[str] = frozenset()
) -> Expression:
    """The expression with its columns; `wanted` is string or boolean, `number_columns` are numbers wherever they stand.

    Raises `SettingsError` where it is no SQL, uses more of it than `allowed_sql` lists, or cannot be computed.
    """
    try:
        tree = _Node(spark._jsparkSession.sessionState().sqlParser().parseExpression(text))
    except (Py4JJavaError, PySparkException) as error:
        raise SettingsError(f"{place}: {text!r} is no SQL expression: {_words_of(error)}") from None
    nodes = list(tree.below())
    for problem in (_not_allowed(node, text) for node in nodes):
        if problem:
            raise SettingsError(f"{place}: {problem}")
    if OF_TODAY.search(text):
        raise SettingsError(f"{place}: {text!r} depends on the day of the reading: write the date")
    parts = {node.path: node.parts for node in nodes if node.kind == COLUMN}
    columns = tuple(parts)
    numbers = _counted(tree, number_columns)
    for node in nodes:
        if (node.kind in ORDERINGS or node.function in ORDERING) and _are_texts(node.children, numbers):
            first, second = (child.path for child in node.children[:2])
            raise SettingsError(
                f"{place}: {text!r} compares {first} and {second} as texts, where 9 comes after 10: write {first} + 0 and "
                f"{second} + 0 if they are numbers, date({first}) or timestamp({first}) if they are times"
            )
    is_arithmetic = all(node.kind in ARITHMETIC_ALONE or node.function in COUNTING for node in nodes)
    expression = Expression(place, text, columns, frozenset(numbers & set(columns)), is_arithmetic, parts)
    return replace(expression, is_time=isinstance(_type_of(spark, expression, wanted), T.TimestampType))


def evaluated(
    rows: DataFrame,
    expression: Expression,
    *,
    name: str,
    cells: Mapping[str, Column],
    wanted: str = "string",
    time_zone: str = "UTC",
) -> DataFrame:
    """The rows with a column `name`, the value of the expression, and `NAME_unreadable` beside it.

    `cells` has the text of every column that it reads, by path, null where there is none. Times without a zone are read as
    those of `time_zone`, and a timestamp is given with its offset. A value that cannot be computed is null. `NAME_unreadable` is the text of a column that the expression counts with and that is no number, or the
    expression itself where arithmetic of given numbers has no result (a division by zero); else null.
    """
    own = [f"_own_{number}" for number in range(len(rows.columns))]
    typed = {
        expression.parts[path]: cell.try_cast(NUMBER) if path in expression.numbers else cell
        for path, cell in cells.items()
    }
    counted = [cells[path] for path in sorted(expression.numbers)]
    is_given = reduce(and_, (cell.isNotNull() for cell in cells.values()), F.lit(expression.is_arithmetic))
    beside = rows.select(
        *(F.col(f"`{column}`").alias(alias) for column, alias in zip(rows.columns, own, strict=True)),
        F.coalesce(*(F.when(text.try_cast(NUMBER).isNull(), text) for text in counted), F.lit(None)).alias("_own_text"),
        is_given.alias("_own_given"),
        *_tree_of(typed),
    )
    with in_zone(rows.sparkSession, time_zone), _forgiving(rows.sparkSession):
        computed = F.expr(expression.text)
        value = F.date_format(computed, WITH_OFFSET) if expression.is_time else computed.cast(wanted)
        not_computed = F.when(F.col("_own_given") & value.isNull(), F.lit(expression.text))
        return beside.select(
            *(F.col(alias).alias(column) for column, alias in zip(rows.columns, own, strict=True)),
            value.alias(name),
            F.coalesce("_own_text", not_computed).alias(f"{name}{UNREADABLE}"),
        )


class _Node:
    """A node of Spark's parse tree."""

    def __init__(self, java: Any) -> None:
        self.java = java
        self.kind = str(java.getClass().getSimpleName())

    @cached_property
    def children(self) -> "list[_Node]":
        return list(map(_Node, _items(self.java.children())))

    def below(self) -> "Iterator[_Node]":
        """The node and all below it."""
        yield self
        for child in self.children:
            yield from child.below()

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Of a column's path."""
        return tuple(map(str, _items(self.java.nameParts()))) if self.kind == COLUMN else ()

    @property
    def path(self) -> str:
        """Of a column."""
        return ".".join(self.parts)

    @cached_property
    def function(self) -> str:
        """The name of a function, else nothing."""
        return ".".join(_items(self.java.nameParts())).lower() if self.kind == FUNCTION else ""

    @cached_property
    def type(self) -> str:
        """Of a literal or a cast, such as `DecimalType`."""
        return str(self.java.dataType().getClass().getSimpleName()) if self.kind in (LITERAL, CAST) else ""

    @property
    def values(self) -> "list[_Node]":
        """The children that have one type with each other."""
        if self.kind == CASE:  # condition, value, condition, value, and the value of all others
            is_odd = len(self.children) % 2
            return self.children[1::2] + (self.children[-1:] if is_odd else [])
        return self.children[1:] if self.function in ("if", "nvl2") else self.children


def _not_allowed(node: _Node, text: str) -> str:
    """What is wrong with a node, or nothing."""
    if node.kind in ("Alias", "MultiAlias"):  # of `case when` Spark makes a column `case` by the name of `when`
        return f"{text!r} is no SQL expression: expected a value, without a name behind it"
    if node.kind in OF_MORE_RECORDS:
        return f"{text!r} looks at more than one record: expected columns and functions of them"
    if node.kind not in NODES or (node.function and node.function not in FUNCTIONS):
        return (
            f"{node.function or node.kind} is not allowed in {text!r}: an expression gives the same at every reading, from the "
            "record alone; docs/your-own-log.md lists its functions"
        )
    if node.kind == CAST and node.type.startswith(("Integer", "Short", "Byte")):
        return f"{text!r} keeps the last digits of a large number only: cast to bigint or decimal, or use floor"
    is_pattern = node.kind in PATTERNS or node.function in WRITTEN_OUT
    if is_pattern and any(child.kind != LITERAL for child in node.children[1:]):
        return f"{text!r} takes a pattern, a format or a place from a column: expected it to be written out"
    return ""


def _counted(tree: _Node, number_columns: Set[str]) -> set[str]:
    """The columns that are numbers in an expression: it counts with them, or compares them with a number."""
    numbers: set[str] = set()
    known = -1
    while len(numbers) > known:  # of a = b and b > 1, both are
        known = len(numbers)
        numbers |= _counted_below(tree, numbers | number_columns, is_counted=False)
    return numbers


def _counted_below(node: _Node, numbers: Set[str], *, is_counted: bool) -> set[str]:
    if node.kind == COLUMN:
        return {node.path} if is_counted else set()
    of_time = any("Interval" in child.type or child.type.startswith("Date") for child in node.children)
    counts = (node.kind in ARITHMETIC or node.function in COUNTING or _is_cast_to_number(node)) and not of_time
    chooses = node.kind in COMPARISONS or node.kind == CASE or node.function in CHOOSING
    passes = is_counted and (node.kind == CASE or node.function in CHOOSING)
    are_numbers = counts or passes or (chooses and any(_is_number(child, numbers) for child in node.values))
    values = node.values if are_numbers else []
    below = (_counted_below(child, numbers, is_counted=child in values) for child in node.children)
    return set[str]().union(*below)


def _is_number(node: _Node, numbers: Set[str]) -> bool:
    if node.kind == COLUMN:
        return node.path in numbers
    if node.kind == CASE or node.function in CHOOSING - {"between"}:
        return any(_is_number(child, numbers) for child in node.values)
    is_literal = node.kind == LITERAL and _is_numeric(node.type)
    return is_literal or node.kind in ARITHMETIC or node.function in COUNTING or _is_cast_to_number(node)


def _is_cast_to_number(node: _Node) -> bool:
    return node.kind == CAST and _is_numeric(node.type)


def _is_numeric(type_: str) -> bool:
    return type_.startswith(("Integer", "Long", "Decimal", "Double", "Float", "Short", "Byte"))


def _are_texts(nodes: Sequence[_Node], numbers: Set[str]) -> bool:
    """Whether all that is compared are columns of text."""
    return len(nodes) > 1 and all(node.kind == COLUMN and node.path not in numbers for node in nodes)


def _type_of(spark: SparkSession, expression: Expression, wanted: str) -> T.DataType:
    """What the expression gives for a record of ones; raises `SettingsError` where Spark refuses or gives another type."""
    place, text = expression.place, expression.text
    ones = spark.sql("SELECT one FROM VALUES ('1') AS ones (one)")
    ones_of = {
        expression.parts[path]: F.col("one").cast(NUMBER if path in expression.numbers else "string")
        for path in expression.columns
    }
    try:
        with _forgiving(spark):
            value = (ones.select(*_tree_of(ones_of)) if ones_of else ones).select(F.expr(text).alias("value"))
            came = value.schema["value"].dataType
            value.collect()  # one row, which Spark computes as it plans
    except (Py4JJavaError, PySparkException) as error:
        raise SettingsError(f"{place}: Spark refuses {text!r}: {_words_of(error)}") from None
    if not _fits(came, wanted):
        raise SettingsError(
            f"{place}: expected {'a condition' if wanted == 'boolean' else 'one text or number'} of one record, and "
            f"{text!r} gives {came.simpleString()}"
        )
    return came


def _fits(came: T.DataType, wanted: str) -> bool:
    if wanted == "boolean":
        return isinstance(came, T.BooleanType)
    return not isinstance(came, T.ArrayType | T.MapType | T.StructType | T.BinaryType)


@contextmanager
def _forgiving(spark: SparkSession) -> Iterator[None]:
    """Let what is planned inside give null, where a cast or a division cannot be made, in place of an error."""
    before = spark.conf.get(ANSI)
    spark.conf.set(ANSI, "false")
    try:
        yield
    finally:
        spark.conf.set(ANSI, str(before))


def _tree_of(cells: Mapping[tuple[str, ...], Column]) -> list[Column]:
    """A column for every first part of a path, a struct where there are further ones."""
    below: dict[str, dict[tuple[str, ...], Column]] = {}
    for (first, *rest), cell in cells.items():
        below.setdefault(first, {})[tuple(rest)] = cell
    return [(parts[()] if () in parts else F.struct(*_tree_of(parts))).alias(first) for first, parts in below.items()]


def _items(scala: Any) -> Sequence[Any]:
    return [scala.apply(number) for number in range(scala.size())]


def _words_of(error: Exception) -> str:
    text = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    words = " ".join(text.split())
    return re.split(r" SQLSTATE|== SQL", re.sub(r"^\[[\w.]+\] ", "", words))[0].strip()
