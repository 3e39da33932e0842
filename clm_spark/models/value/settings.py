"""Settings of customers' value."""

from typing import Annotated, ClassVar

from pydantic import Field

from clm_spark.settings import MOST_DAYS, Days, Section


class ValueSettings(Section):
    """How far ahead value is asked about, and what money to come is worth."""

    key: ClassVar[str] = "value"
    horizon_days: Days = Field(56, description="days from as_of on whose net revenue is predicted and tested")
    lifetime_days: Annotated[int, Field(ge=28, le=MOST_DAYS)] = Field(
        365, description="days from as_of on that the discounted lifetime value adds up"
    )
    margin: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="share of net revenue that lifetime value counts; 1: it is revenue"
    )
    annual_discount_rate: Annotated[float, Field(ge=0)] = Field(
        0.1, description="what money a year ahead is worth less: 0.1 divides it by 1.1"
    )
    min_repeat_customers: Annotated[int, Field(ge=3)] = Field(
        10, description="customers who bought again, without whom no law of purchases is fitted"
    )


class TwoStageSettings(Section):
    """The learned model: whether a customer buys, then how much."""

    key: ClassVar[str] = "two_stage"
    regularization: Annotated[float, Field(ge=0)] = 0.01
    min_buyers: Annotated[int, Field(ge=2)] = Field(
        30, description="examples with revenue, without whom it is not trained"
    )
