"""gold tables and the ingest ledger -> report.html: how the shop stands, on one page."""

import logging

from clm_spark.job import main
from clm_spark.report.page import page_from_tables, write_page
from clm_spark.report.place import report_path
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake

log = logging.getLogger("clm_spark.report")


def run(lake: Lake, settings: Settings) -> None:
    """Write the page to `report.path`."""
    path = report_path(settings)
    write_page(page_from_tables(lake), path)
    log.info("report: %s", path)


if __name__ == "__main__":
    raise SystemExit(main(run))
