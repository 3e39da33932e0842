"""Where the page goes. Apart from the page, so that the command line knows it without loading what draws charts."""

from clm_spark.files import as_url
from clm_spark.settings import Settings


def report_path(settings: Settings) -> str:
    """Its URL on any store: `report.path`, or report.html in the lakehouse."""
    return as_url(settings.report.path or f"{settings.lakehouse.path.rstrip('/')}/report.html")
