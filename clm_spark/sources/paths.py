"""One spelling of a file's name: as Hadoop's `Path` prints it, nothing in it encoded and nothing a pattern."""

import re

from pyspark.sql import Column
from pyspark.sql import functions as F


def literal(file: str) -> str:
    """The name as Spark's readers take it, which look for `*`, `?`, `[ab]` and `{a,b}` in a path."""
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", file)


def decoded(url: Column) -> Column:
    """The name from `_metadata.file_path`, a URL: `my clicks.csv` where that has `my%20clicks.csv`."""
    plus_kept = F.replace(url, F.lit("+"), F.lit("%2B"))  # which a form, and not a URL, has for a space
    return F.when(F.contains(url, F.lit("%")), F.url_decode(plus_kept)).otherwise(url)
