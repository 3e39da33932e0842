"""The page: all sections in one HTML file that needs nothing else."""

import os
import tempfile
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from clm_spark.errors import SettingsError
from clm_spark.files import local_path
from clm_spark.report.customers import churn, segments
from clm_spark.report.models import models
from clm_spark.report.recommendations import recommendations
from clm_spark.report.record import ledger, tables_made
from clm_spark.report.shop import funnel, shop_over_time, span_of_data, tiles
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake

SECTIONS = (shop_over_time, funnel, segments, models, churn, recommendations, ledger, tables_made)


def page_from_tables(lake: Lake) -> str:
    """The report as HTML; a section whose table is missing or empty says so."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("clm_spark.report").joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        shop=lake.settings.shop.replace("_", " "),
        as_of=lake.settings.as_of,
        span=span_of_data(lake),
        tiles=tiles(lake),
        sections=[section(lake) for section in SECTIONS],
    )


def report_path(settings: Settings) -> Path:
    """Where the page goes: `report.path`, or report.html in the lakehouse.

    Raises `SettingsError` when the lakehouse is no local folder and `report.path` names none.
    """
    asked = settings.report.path or f"{settings.lakehouse.path.rstrip('/')}/report.html"
    if "://" in asked.removeprefix("file://"):
        raise SettingsError(
            f"the report cannot be written to {asked}: expected a file of this machine; "
            "set report.path to one (on Databricks: a path under /Volumes)"
        )
    return local_path(asked)


def write_page(html: str, path: Path) -> None:
    """Put the page in its place at once: a reader sees the old page or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(html)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
