"""When a customer's habit is one."""

from typing import Annotated

from pydantic import Field

from clm_spark.settings.section import Section


class HabitSettings(Section):
    """Scores of habits: shares of a customer's own lines, shrunk towards the shop's share."""

    prior_lines: Annotated[float, Field(gt=0)] = Field(
        20, description="the shop's share counts as much as so many lines of the customer's own"
    )
    discount_only_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="from this share of discounted lines on a customer buys at a discount only"
    )
