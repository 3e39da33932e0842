"""What tasks about what customers will do are asked: of whom, how far ahead, and what an offer is worth."""

from typing import Annotated

from pydantic import Field

from clm_spark.evaluation.offers import Offer
from clm_spark.settings import Days, Section, Settings


class HorizonSettings(Section):
    """Of whom a task is asked, and how far it looks ahead."""

    horizon_days: Days = Field(56, description="days from as_of on that the label looks at")
    active_days: Days = Field(84, description="asked of customers who bought in so many days before")
    offer_cost_cents: Annotated[float, Field(ge=0)] = Field(
        100, description="what it costs to make one customer an offer"
    )
    offer_margin_cents: Annotated[float, Field(ge=0)] = Field(
        3000, description="what a customer whom the offer moves is worth, before its cost"
    )
    offer_response_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.1, description="of those to whom it would happen, how many an offer moves"
    )

    @property
    def offer(self) -> Offer:
        """What decides from which probability on an offer pays."""
        return Offer(self.offer_cost_cents, self.offer_margin_cents, self.offer_response_share)


def horizon_days_of(settings: Settings, task: str) -> int:
    """How far the task of that name looks ahead; the default where its section was not read."""
    section = settings.models.get(task)
    return (section if isinstance(section, HorizonSettings) else HorizonSettings()).horizon_days
