"""The page: all sections in one HTML file that needs nothing else."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from clm_spark.files import write_text
from clm_spark.report.customers import churn, segments
from clm_spark.report.lifecycle import lifecycle
from clm_spark.report.models import models
from clm_spark.report.recommendations import recommendations
from clm_spark.report.record import ledger, tables_made
from clm_spark.report.shop import funnel, shop_over_time, span_of_data, tiles
from clm_spark.report.value import value
from clm_spark.tables.lake import Lake

SECTIONS = (shop_over_time, funnel, lifecycle, segments, models, churn, value, recommendations, ledger, tables_made)


def page_from_tables(lake: Lake) -> str:
    """The report as HTML; a section whose table is missing or empty says so."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("clm_spark.report").joinpath("page.html.j2").read_text("utf-8"))
    return template.render(
        shop=lake.settings.shop.name.replace("_", " "),
        as_of=lake.settings.as_of,
        span=span_of_data(lake),
        tiles=tiles(lake),
        sections=[section(lake) for section in SECTIONS],
    )


def write_page(html: str, path: str) -> None:
    """Put the page in its place at once: a reader sees the old page or the new one, never half of it."""
    write_text(path, html)
