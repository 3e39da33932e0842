"""The statements that make a table of its contract, and the view of it that analysts read."""

from collections.abc import Mapping

from clm_spark.tables.contract import Table

VIEW_PROPERTY = "clm.view"


def table_ddl(table: Table, name: str, further: Mapping[str, str]) -> str:
    """A Delta table of this contract, with `further` properties."""
    columns = ",\n  ".join(
        f"{c.name} {c.type.simpleString()}{'' if c.nullable else ' NOT NULL'} COMMENT '{quoted(c.comment)}'"
        for c in table.columns
    )
    # As properties of CREATE TABLE the constraints cost nothing; each ALTER TABLE would be a commit of seconds.
    constraints = {f"delta.constraints.{rule}": text for rule, text in table.constraints.items()}
    properties = {**table.properties, **further, **constraints}
    listed = ",\n  ".join(f"'{key}' = '{quoted(value)}'" for key, value in properties.items())
    partitions = f"PARTITIONED BY ({', '.join(table.partitions)})\n" if table.partitions else ""
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (\n  {columns}\n) USING DELTA\n{partitions}"
        f"COMMENT '{quoted(table.comment)}'\nTBLPROPERTIES (\n  {listed}\n)"
    )


def views_ddl(table: Table, *, schema: str, name: str) -> list[str]:
    """The views of the table that analysts read, each in place of an earlier one, in the order they are made in."""
    view = f"{schema}.{table.name}"
    views = [_view(table, view=view, name=name)]
    if table.newest_as is not None:
        newest = f"SELECT * FROM {view} WHERE as_of = (SELECT max(as_of) FROM {view})"
        comment = quoted(f"{table.title} of the newest as_of.")
        views.append(f"CREATE OR REPLACE VIEW {schema}.{table.newest_as} COMMENT '{comment}' AS {newest}")
    return views


def _view(table: Table, *, view: str, name: str) -> str:
    """The table's rows without the columns that may name a customer."""
    columns = ",\n  ".join(f"{c.name} COMMENT '{quoted(c.comment)}'" for c in table.public_columns)
    listed = ", ".join(c.name for c in table.public_columns)
    return (
        f"CREATE OR REPLACE VIEW {view} (\n  {columns}\n) "
        f"COMMENT '{quoted(f'One row per {table.grain}.')}' AS SELECT {listed} FROM {name}"
    )


def view_declared(table: Table, schema: str) -> str:
    """What the table's property says of its view: as long as it says so, the view is in step with the contract."""
    newest = f"; {table.newest_as}" if table.newest_as else ""
    return f"{schema}: {', '.join(column.name for column in table.public_columns)}{newest}"


def quoted(text: str) -> str:
    """Text as it stands inside SQL's single quotes."""
    return text.replace("\\", "\\\\").replace("'", "\\'")
