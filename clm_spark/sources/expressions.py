"""Spark SQL over the columns of a record: checked before anything is read, and never a reason for a run to stop."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from clm_spark.errors import SettingsError

ANSI = "spark.sql.ansi.enabled"
SQL = re.compile(r"""[()'"=<>+*/%|]|\s-\s|^\s*case\s+when\s|\bis\s+(not\s+)?null\b""", re.IGNORECASE)
# What is not the same at every reading, looks beyond the record, or runs code.
FORBIDDEN = {
    *("rand", "random", "randn", "uuid", "shuffle", "randstr", "uniform", "monotonically_increasing_id"),
    *("spark_partition_id", "now", "current_date", "curdate", "current_timestamp", "localtimestamp", "current_time"),
    *("current_user", "user", "session_user", "current_database", "current_catalog", "current_schema", "version"),
    *("input_file_name", "input_file_block_start", "input_file_block_length", "reflect", "java_method", "try_reflect"),
    *("raise_error", "assert_true", "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "stack"),
    *("inline_outer", "sleep", "unix_timestamp"),
}
_COMPARING = {
    *("LessThan", "LessThanOrEqual", "GreaterThan", "GreaterThanOrEqual", "EqualTo", "EqualNullSafe", "Between", "In"),
}
_COUNTING = {"Add", "Subtract", "Multiply", "Divide", "IntegralDivide", "Remainder", "UnaryMinus", "UnaryPositive"}
_COUNTING_FUNCTIONS = {"abs", "round", "bround", "ceil", "ceiling", "floor", "sign", "signum", "negative", "mod"}
NUMBER = "decimal(38,6)"


@dataclass(frozen=True)
class Expression:
    """An expression and the columns that it reads: as paths, and those of them that it counts with."""

    place: str  # of the mapping, for messages
    text: str
    columns: tuple[str, ...]
    numbers: frozenset[str]


def looks_like_sql(text: str) -> bool:
    """Whether a text that is no column is meant as an expression."""
    return SQL.search(text) is not None


def parsed(spark: SparkSession, place: str, text: str) -> Expression:
    """The expression with its columns; raises `SettingsError` where it is no SQL, or more than a look at one record."""
    parser = spark._jsparkSession.sessionState().sqlParser()
    try:
        tree = parser.parseExpression(text)
    except (Py4JJavaError, PySparkException) as error:
        raise SettingsError(f"{place}: {text!r} is no SQL expression: {_first_line(error)}") from None
    columns: dict[str, None] = {}
    numbers: set[str] = set()
    for node in _nodes(tree):
        kind = node.getClass().getSimpleName()
        if kind in ("Alias", "MultiAlias"):  # of `case when` Spark makes a column `case` by the name of `when`
            raise SettingsError(f"{place}: {text!r} is no SQL expression: expected a value, without a name behind it")
        if kind == "UnresolvedAttribute":
            columns[_path(node)] = None
        elif kind == "UnresolvedFunction":
            name = ".".join(_items(node.nameParts())).lower()
            if name in FORBIDDEN:
                raise SettingsError(
                    f"{place}: {name} is not allowed in {text!r}: an expression gives the same at every reading, from "
                    "the record alone"
                )
        elif kind in ("ScalarSubquery", "Exists", "ListQuery", "UnresolvedStar", "WindowExpression") or (
            kind == "UnresolvedWindowExpression"
        ):
            raise SettingsError(
                f"{place}: {text!r} looks at more than one record: expected columns and functions of them"
            )
        numbers |= _numbers_below(node, kind)
    return Expression(place, text, tuple(columns), frozenset(numbers))


def evaluated(
    rows: DataFrame,
    expressions: Mapping[str, Expression],
    *,
    cells: Mapping[str, Column],
    types: Mapping[str, str],
) -> DataFrame:
    """The rows with the value of every expression beside them, under its key; what cannot be computed is null.

    `cells` has the text of every column that they read, by path, null where there is none. `types` are the types wanted, by
    key. Raises `SettingsError` where Spark cannot make sense of an expression.
    """
    own = [f"_own_{number}" for number in range(len(rows.columns))]
    numbers = frozenset[str]().union(*(each.numbers for each in expressions.values()))
    typed = {path: text.try_cast(NUMBER) if path in numbers else text for path, text in cells.items()}
    beside = rows.select(
        *(F.col(f"`{name}`").alias(alias) for name, alias in zip(rows.columns, own, strict=True)),
        *_tree_of(typed),
    )
    results = [F.col(alias).alias(name) for name, alias in zip(rows.columns, own, strict=True)]
    with _forgiving(rows.sparkSession):
        for key, expression in expressions.items():
            try:
                value = beside.select(F.expr(expression.text).alias("value"))
            except PySparkException as error:
                raise SettingsError(
                    f"{expression.place}: Spark refuses {expression.text!r}: {_first_line(error)}"
                ) from None
            came = value.schema["value"].dataType
            if not _fits(came, types[key]) or _is_aggregate(value):
                raise SettingsError(
                    f"{expression.place}: expected {'a condition' if types[key] == 'boolean' else 'one text or number'} "
                    f"of one record, and {expression.text!r} gives {came.simpleString()}"
                )
            results.append(F.expr(expression.text).cast(types[key]).alias(key))
        return beside.select(*results)


def _is_aggregate(rows: DataFrame) -> bool:
    plan = rows._jdf.queryExecution().analyzed().getClass().getSimpleName()
    return str(plan) != "Project"


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


def _tree_of(cells: Mapping[str, Column]) -> list[Column]:
    """A column for every first part of a path, a struct where there are further ones."""
    below: dict[str, dict[str, Column]] = {}
    for path, cell in cells.items():
        first, _, rest = path.partition(".")
        below.setdefault(first, {})[rest] = cell
    return [(parts[""] if "" in parts else F.struct(*_tree_of(parts))).alias(first) for first, parts in below.items()]


def _nodes(tree: Any) -> Iterator[Any]:
    yield tree
    for child in _items(tree.children()):
        yield from _nodes(child)


def _numbers_below(node: Any, kind: str) -> set[str]:
    """The columns right below a node that counts, or compares with a number."""
    children = _items(node.children())
    kinds = [child.getClass().getSimpleName() for child in children]
    counts = kind in _COUNTING or (
        kind == "UnresolvedFunction" and ".".join(_items(node.nameParts())).lower() in _COUNTING_FUNCTIONS
    )
    compares = (kind in _COMPARING or _is_between(node, kind)) and any(map(_is_number, children))
    if not counts and not compares:
        return set()
    return {_path(child) for child, of in zip(children, kinds, strict=True) if of == "UnresolvedAttribute"}


def _is_between(node: Any, kind: str) -> bool:
    return kind == "UnresolvedFunction" and ".".join(_items(node.nameParts())).lower() == "between"


def _is_number(node: Any) -> bool:
    kind = node.getClass().getSimpleName()
    if kind in ("UnaryMinus", "UnaryPositive"):
        return any(map(_is_number, _items(node.children())))
    if kind != "Literal":
        return False
    type_ = str(node.dataType().getClass().getSimpleName())
    return type_.startswith(("Integer", "Long", "Decimal", "Double", "Float", "Short", "Byte"))


def _path(attribute: Any) -> str:
    return ".".join(_items(attribute.nameParts()))


def _items(scala: Any) -> Sequence[Any]:
    return [scala.apply(number) for number in range(scala.size())]


def _first_line(error: Exception) -> str:
    text = str(error.java_exception.getMessage()) if isinstance(error, Py4JJavaError) else str(error)
    words = " ".join(text.split())
    return re.split(r" SQLSTATE|== SQL", re.sub(r"^\[[\w.]+\] ", "", words))[0].strip()
