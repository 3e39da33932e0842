"""When a customer's silence is long, by the customer's own rhythm."""

from typing import Annotated

from pydantic import Field, model_validator

from clm_spark.settings.section import MOST_DAYS, Section


class LifecycleSettings(Section):
    """Lifecycle stages: limits on the silence since the last purchase, in spreads beyond the mean gap.

    A gap is the days from one day with a purchase to the next; its spread is the standard deviation. Of irregular
    buyers, whose spread is as large as their mean (a Poisson process), one gap in 7 is longer than the first default
    limit, one in 20 than the second and one in 150 than the third.
    """

    at_risk_spreads: Annotated[float, Field(ge=0)] = Field(1.0, description="a longer silence puts a customer at risk")
    lapsed_spreads: Annotated[float, Field(ge=0)] = Field(
        2.0, description="a longer one means that the customer lapsed"
    )
    lost_spreads: Annotated[float, Field(ge=0)] = Field(4.0, description="a longer one that the customer is lost")
    prior_gaps: Annotated[float, Field(gt=0)] = Field(
        0.5, description="the shop's rhythm counts as much as so many gaps of the customer's own"
    )
    usual_gap_days: Annotated[float, Field(ge=1, le=MOST_DAYS)] = Field(
        30.0, description="mean and spread of the gaps in a shop of which fewer than 30 are known yet"
    )
    loyal_from: Annotated[int, Field(ge=3)] = Field(5, description="a customer is loyal from so many purchase days on")

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> "LifecycleSettings":
        if not self.at_risk_spreads <= self.lapsed_spreads <= self.lost_spreads:
            raise ValueError(
                "lifecycle.at_risk_spreads, lapsed_spreads and lost_spreads must not fall: expected each at least as large "
                "as the one before"
            )
        return self


FourLimits = Annotated[tuple[int, ...], Field(min_length=4, max_length=4)]


class RfmSettings(Section):
    """RFM scores: limits between the scores 1 to 5, in rising order. None: they are the fifths of the shop's customers."""

    recency_days: FourLimits | None = Field(
        None, description="days since the last purchase: up to the first is score 5"
    )
    num_orders: FourLimits | None = Field(None, description="baskets in 365 days: above the fourth is score 5")
    net_revenue_cents: FourLimits | None = Field(
        None, description="net revenue in 365 days: above the fourth is score 5"
    )

    @model_validator(mode="after")
    def _limits_rise(self) -> "RfmSettings":
        for name in ("recency_days", "num_orders", "net_revenue_cents"):
            limits = getattr(self, name)
            if limits is not None and list(limits) != sorted(limits):
                raise ValueError(f"rfm.{name} must rise: expected four limits from the lowest up, came {list(limits)}")
        return self
