"""Bring every stored table to the contract of this release: `clm migrate`.

Everything is planned and proven first: where one table has no lossless migration, nothing is changed. Then each change
is one commit. A run that died is run again: it compares anew, and finds what is left.
"""

import json
import logging
import re
import time
from collections.abc import Iterator, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import clm_spark
from clm_spark.errors import ContractError
from clm_spark.tables.catalog import TABLES
from clm_spark.tables.commits import COMMIT_MARK, MIGRATION, marked
from clm_spark.tables.contract import MANAGED_PROPERTIES, Column, Table
from clm_spark.tables.ddl import VIEW_PROPERTY, view_declared, views_ddl
from clm_spark.tables.guard import changed_by_hand, num_unique
from clm_spark.tables.keyed import table_keys
from clm_spark.tables.lake import Lake, Written
from clm_spark.tables.plan import TABLE, Layout, Plan, listed_properties, plan_of, rules_of_lists
from clm_spark.tables.stored import (
    CONTRACT_PROPERTY,
    RULES_PROPERTY,
    UNDER_WAY,
    last_commits,
    not_null_rule,
    recorded_properties,
    schema_differences,
)

log = logging.getLogger(__name__)


def migrate(lake: Lake, tables: Sequence[Table] = TABLES) -> None:
    """Bring the tables that there are to today's contracts; those that are there already get no commit.

    Raises `ContractError`, before anything is changed, naming what would lose or rewrite data without a step, the first
    stored row that a narrower rule refuses, and tables changed by hand.
    """
    lake.guard.check_whole()
    plans = [_planned(lake, table) for table in tables if lake.exists(table)]
    refused = [
        f"{plan.table.title}: {', '.join(why)}" for plan in plans if (why := [*plan.refused, *_broken(lake, plan)])
    ]
    if refused:
        raise ContractError(
            f"nothing was changed: {'; '.join(refused)}; such a change needs a step in clm_spark/tables/migrations, or "
            "stored rows that hold the rule"
        )
    for plan in plans:
        _bring(lake, plan)


def _planned(lake: Lake, table: Table) -> Plan:
    stored = lake.guard.read(table)
    if not stored.is_as_we_left_it:
        raise ContractError(changed_by_hand(table, stored))
    detail = lake.spark.sql(f"DESCRIBE DETAIL {stored.name}").select("partitionColumns", "description").head()
    assert detail is not None
    return plan_of(table, stored, Layout(tuple(detail["partitionColumns"]), detail["description"] or ""))


def rows_after(plan: Plan, rows: DataFrame) -> DataFrame:
    """The table's rows as this release holds them: through the steps that are due, then with the columns added."""
    for step in plan.steps:
        rows = step.change(rows)
    added = [column for column in plan.table.columns if column.name not in rows.columns]
    return rows.withColumns({column.name: F.lit(column.default).cast(column.type) for column in added})


def _broken(lake: Lake, plan: Plan) -> Iterator[str]:
    """What the stored rows do not hold of the contract, each with an example, in one pass; its steps are proven as well."""
    if plan.refused:
        return  # no frame could be made of it
    table, rows = plan.table, rows_after(plan, lake.stored(plan.table))
    differences = schema_differences(rows.schema, table.schema)
    if differences:
        yield f"after its steps {', '.join(differences)}"
        return
    rules = {**plan.unproven, **(_whole_contract(table) if plan.is_remade else {})}
    if rules:
        yield from _examples(rows, table, rules)
    if plan.steps:
        try:
            num_unique(rows, table)
        except ContractError as error:
            yield str(error)


def _whole_contract(table: Table) -> dict[str, str]:
    """Every rule that rows written anew must hold, by the message when they do not."""
    rules = {f"rule {name} is {rule}": rule for name, rule in table.constraints.items()}
    not_null = {f"column {c.name} may not be null": f"{c.name} IS NOT NULL" for c in required(table)}
    return {**rules, **not_null, **rules_of_lists(table)}


def required(table: Table) -> list[Column]:
    """The columns that may not be null."""
    return [column for column in table.columns if not column.nullable]


def _examples(rows: DataFrame, table: Table, rules: dict[str, str]) -> list[str]:
    """For each rule that a row breaks: the rule, with the key and the values of such a row."""
    found = rows.agg(
        *(
            F.min(F.when(~F.coalesce(F.expr(rule), F.lit(False)), F.to_json(F.struct(*_shown(table, rule)))))
            for rule in rules.values()
        )
    ).head()
    assert found is not None
    return [
        f"{message}, and a stored row is {row}" for message, row in zip(rules, found, strict=True) if row is not None
    ]


def _shown(table: Table, rule: str) -> list[str]:
    """The key, and the columns that the rule is about."""
    words = set(re.findall(r"\w+", rule))
    return [*table.key, *(name for name in table.schema.names if name in words and name not in table.key)]


def _bring(lake: Lake, plan: Plan) -> None:
    start, description, num_rows = time.monotonic(), plan.description, 0
    table, before = plan.table, plan.stored.version
    if plan.is_remade:
        num_before, num_rows = lake.stored(table).count(), _remake(lake, plan)
        description += f"; {num_before:,} rows before, {num_rows:,} after"
        plan = _planned(lake, table)  # what a table cannot be remade with
    for statement in (*_beginning(plan), *plan.before, *plan.comments):
        _alter(lake, plan, statement)
    _show(lake, plan)
    for statement in _properties(lake, plan):
        _alter(lake, plan, statement)
    version = lake.version(table)
    if version > before:
        log.info("%-27s %s", table.title, description)
        lake.note(Written(table.title, version, num_rows, time.monotonic() - start))


def _beginning(plan: Plan) -> Iterator[str]:
    """The first commit, unless a run that died made it: rules to come are ours as well from then on."""
    held, rules = plan.stored.properties, {*plan.stored.rules, *plan.table.constraints}
    is_begun = held.get(CONTRACT_PROPERTY) == UNDER_WAY and rules <= {*held.get(RULES_PROPERTY, "").split(",")}
    if plan.before and not is_begun:
        begun = listed_properties({CONTRACT_PROPERTY: UNDER_WAY, RULES_PROPERTY: ",".join(sorted(rules))})
        yield f"ALTER TABLE {TABLE} SET TBLPROPERTIES ({begun})"


def _alter(lake: Lake, plan: Plan, statement: str) -> None:
    with marked(lake.spark, _mark(lake, plan, statement.replace(TABLE, plan.table.title))):
        lake.spark.sql(statement.replace(TABLE, plan.stored.name))


def _remake(lake: Lake, plan: Plan) -> int:
    """Write all rows anew, with the columns, rules and properties of today's contract, in one commit."""
    table = plan.table
    rows = rows_after(plan, lake.stored(table))
    commented = [F.col(c.name).alias(c.name, metadata={"comment": c.comment}) for c in table.columns]
    writer = rows.select(*commented).writeTo(plan.stored.name).using("delta")
    if table.partitions:
        writer = writer.partitionedBy(*map(F.col, table.partitions))
    rules = {**table.constraints, **{not_null_rule(c.name): f"{c.name} IS NOT NULL" for c in required(table)}}
    constraints = {f"delta.constraints.{name}": rule for name, rule in rules.items()}
    properties = {**plan.stored.foreign_properties, **table.properties, **recorded_properties(table), **constraints}
    properties |= {"comment": table.comment, CONTRACT_PROPERTY: UNDER_WAY}
    for key, value in properties.items():
        writer = writer.tableProperty(key, value)
    with marked(lake.spark, _mark(lake, plan, plan.description)):
        writer.replace()
    return int((last_commits(lake.spark, plan.stored.name)[0]["operationMetrics"] or {}).get("numOutputRows", 0))


def _show(lake: Lake, plan: Plan) -> None:
    """Make the analysts' views anew where their columns or their meaning changed, or where one is missing."""
    schema = lake.schemas.name("analysts")
    declared = view_declared(plan.table, schema)
    names = [name for name in (plan.table.name, plan.table.newest_as) if name is not None]
    held = plan.stored.properties
    is_new = held.get(CONTRACT_PROPERTY) != plan.table.digest or held.get(VIEW_PROPERTY) != declared or plan.comments
    if not is_new and all(lake.spark.catalog.tableExists(f"{schema}.{name}") for name in names):
        return
    lake.schemas.make("analysts")
    for view in views_ddl(plan.table, schema=schema, name=plan.stored.name):
        lake.spark.sql(view)


def _properties(lake: Lake, plan: Plan) -> Iterator[str]:
    """The last commits: from then on the table says that it is of today's contract."""
    held, declared = plan.stored.properties, plan.table.properties
    view = {VIEW_PROPERTY: view_declared(plan.table, lake.schemas.name("analysts"))}
    outdated = [key for key in MANAGED_PROPERTIES if key in held and key not in declared]
    if outdated:
        listed = ", ".join(f"'{key}'" for key in outdated)
        yield f"ALTER TABLE {TABLE} UNSET TBLPROPERTIES ({listed})"
    wanted = {**declared, **view, **recorded_properties(plan.table)}
    missing = {key: value for key, value in wanted.items() if held.get(key) != value}
    if plan.before:
        missing |= {key: wanted[key] for key in (CONTRACT_PROPERTY, RULES_PROPERTY)}
    if missing:
        yield f"ALTER TABLE {TABLE} SET TBLPROPERTIES ({listed_properties(missing)})"


def _mark(lake: Lake, plan: Plan, description: str) -> str:
    """What a commit says: a migration, by which release, and the key that its table is keyed by as before."""
    mark = {
        "by": COMMIT_MARK,
        "job": lake.job,
        "as_of": str(lake.settings.as_of),
        "code": clm_spark.__version__,
        MIGRATION: description,
        "steps": [step.name for step in plan.steps],
        "key": next(iter(table_keys(plan.stored.commits)), None),
    }
    return json.dumps({name: value for name, value in mark.items() if value})
