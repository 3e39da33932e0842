"""What brings a stored table to today's contract: statements of one commit each, or its rows written anew."""

from dataclasses import dataclass, field
from itertools import dropwhile

import clm_spark
from clm_spark.tables.contract import Column, Table, squeezed
from clm_spark.tables.ddl import quoted
from clm_spark.tables.migrations import Step, steps_of
from clm_spark.tables.stored import RELEASE_PROPERTY, Stored, not_null_rule

TABLE = "{table}"  # stands for the table's name in a statement


@dataclass(frozen=True)
class Layout:
    """What only Delta's details say of a table."""

    partitions: tuple[str, ...]
    comment: str


@dataclass
class Plan:
    """The migration plan of one table."""

    table: Table
    stored: Stored
    steps: tuple[Step, ...] = ()
    refused: list[str] = field(default_factory=list)
    unproven: dict[str, str] = field(default_factory=dict)  # rules that stored rows must hold first, by their message
    before: list[str] = field(default_factory=list)  # statements that the rows' columns and rules need
    comments: list[str] = field(default_factory=list)
    is_remade: bool = False

    @property
    def description(self) -> str:
        """What is done, in words, for the log."""
        steps = [f"step {step.name}" for step in self.steps]
        return "; ".join([*steps, *self.stored.differences(self.table)]) or "comments and properties"


def plan_of(table: Table, stored: Stored, layout: Layout) -> Plan:
    """Compare a stored table with its contract; what has neither a lossless migration nor a step is in `refused`."""
    plan = Plan(table, stored, steps=due_steps(table, stored))
    if plan.steps:
        plan.is_remade = True
        return plan
    _refuse_lossy_changes(plan, layout)
    _plan_columns(plan)
    _plan_rules(plan)
    _plan_comments(plan, layout)
    return plan


def due_steps(table: Table, stored: Stored) -> tuple[Step, ...]:
    """The steps that its rows have not gone through, oldest first: the first that expects such a table, and all after it."""
    left = [step for step in steps_of(table.title) if step.name not in stored.steps]
    return tuple(dropwhile(lambda step: not _expects(step, stored), left))


def _expects(step: Step, stored: Stored) -> bool:
    """Whether the stored table is the older one that the step expects."""
    key = tuple(stored.properties.get("clm.key", "").split(","))
    return set(step.drops) <= set(stored.schema.names) and step.old_key in (None, key)


def _refuse_lossy_changes(plan: Plan, layout: Layout) -> None:
    table, stored = plan.table, plan.stored
    declared = {column.name: column for column in table.columns}
    for one in stored.schema:
        column = declared.get(one.name)
        if column is None:
            plan.refused.append(f"column {one.name} is removed or renamed")
        elif column.type.simpleString() != one.dataType.simpleString():
            came, wanted = one.dataType.simpleString(), column.type.simpleString()
            plan.refused.append(f"column {one.name} changes its type from {came} to {wanted}")
    key = stored.properties.get("clm.key", "")
    if key != ",".join(table.key):
        plan.refused.append(f"the key changes from {key} to {','.join(table.key)}")
    if layout.partitions != table.partitions:
        came, wanted = (",".join(names) or "none" for names in (layout.partitions, table.partitions))
        plan.refused.append(f"the partitions change from {came} to {wanted}")


def _plan_columns(plan: Plan) -> None:
    is_nullable = {one.name: one.nullable for one in plan.stored.schema}
    added = [column for column in plan.table.columns if column.name not in is_nullable]
    if any(column.default is not None or not column.nullable for column in added):
        plan.is_remade = True  # rows get a value: they are written anew
    elif added:
        plan.before.append(f"ALTER TABLE {TABLE} ADD COLUMNS ({', '.join(map(_added, added))})")
    for column in added:
        if column.default is None and not column.nullable:
            plan.unproven[f"column {column.name} is added without a default"] = "false"
    for column in plan.table.columns:
        if is_nullable.get(column.name, column.nullable) != column.nullable:
            plan.before.append(_null_statement(plan, column))


def _null_statement(plan: Plan, column: Column) -> str:
    rule = not_null_rule(column.name)
    if not column.nullable:
        plan.unproven[f"column {column.name} may no longer be null"] = f"{column.name} IS NOT NULL"
        return f"ALTER TABLE {TABLE} ADD CONSTRAINT {rule} CHECK ({column.name} IS NOT NULL)"
    if f"delta.constraints.{rule}" in plan.stored.properties:
        return f"ALTER TABLE {TABLE} DROP CONSTRAINT {rule}"
    return f"ALTER TABLE {TABLE} ALTER COLUMN {column.name} DROP NOT NULL"


def _added(column: Column) -> str:
    return f"{column.name} {column.type.simpleString()} COMMENT '{quoted(column.comment)}'"


def _plan_rules(plan: Plan) -> None:
    held, declared = plan.stored.rules, {name.lower(): rule for name, rule in plan.table.constraints.items()}
    same = {name for name in held if name in declared and squeezed(held[name]) == squeezed(declared[name])}
    plan.before += [f"ALTER TABLE {TABLE} DROP CONSTRAINT {name}" for name in held if name not in same]
    for name, rule in declared.items():
        if name not in same:
            plan.unproven[f"rule {name} becomes {rule}"] = rule
            plan.before.append(f"ALTER TABLE {TABLE} ADD CONSTRAINT {name} CHECK ({rule})")
    # No stored table says which values it may hold, so that adding one costs no commit: read once per release.
    if plan.stored.properties.get(RELEASE_PROPERTY) != clm_spark.__version__:
        plan.unproven |= rules_of_lists(plan.table)


def rules_of_lists(table: Table) -> dict[str, str]:
    """That columns with a closed list hold no other values, as rules by their message."""
    rules = {}
    for column in table.columns:
        if column.values:
            listed = ", ".join(f"'{quoted(value)}'" for value in column.values)
            message = f"column {column.name} is one of {', '.join(column.values)}"
            rules[message] = f"{column.name} IS NULL OR {column.name} IN ({listed})"
    return rules


def _plan_comments(plan: Plan, layout: Layout) -> None:
    held = {one.name: one.metadata.get("comment") for one in plan.stored.schema}
    changed = [
        f"{column.name} COMMENT '{quoted(column.comment)}'"
        for column in plan.table.columns
        if column.name in held and held[column.name] != column.comment
    ]
    if changed:
        plan.comments.append(f"ALTER TABLE {TABLE} ALTER COLUMN {', '.join(changed)}")
    if layout.comment != plan.table.comment:
        plan.comments.append(f"COMMENT ON TABLE {TABLE} IS '{quoted(plan.table.comment)}'")


def listed_properties(properties: dict[str, str]) -> str:
    """As SET TBLPROPERTIES takes them."""
    return ", ".join(f"'{key}' = '{quoted(value)}'" for key, value in properties.items())
