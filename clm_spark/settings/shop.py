"""The shop itself: its name and its days."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from clm_spark.settings.section import MOST_DAYS, Section, ZoneName

# What spark.redaction.regex hides, of which a lakehouse could not tell whose it is.
HIDDEN = re.compile(r"secret|password|token|access.?key")


def _is_shown(name: str) -> str:
    if HIDDEN.search(name):
        raise ValueError("Spark hides what holds secret, password, token or access_key, so expected another name")
    return name


class ShopSettings(Section):
    """The shop. `shop: my_shop` is short for its name alone."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_is_shown)] = Field(
        "shop", description="name of the shop; a lakehouse holds one shop"
    )
    time_zone: ZoneName | None = Field(
        None,
        description="decides what a day, an hour, a weekend and a night are in every table, label and report; None: as the "
        "lakehouse has it, which at the first ingestion takes the zone of the log's own times, and is UTC otherwise",
    )
    max_quiet_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] = Field(
        7, description="as_of may lie this many days without any event after the last one: the shop was closed"
    )


def with_named_shop(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings in which a shop given by its name alone is a section, so that one layer may name it and another its zone."""
    shop = values.get("shop")
    return dict(values) if shop is None or isinstance(shop, Mapping) else {**values, "shop": {"name": shop}}
