"""Windows, panels and drift."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from clm_spark.settings.section import MOST_DAYS, Days, NumItems, Section

# What is done with an item; gold.customer_item_days counts each of them.
ItemKind = Literal["view", "click", "impression", "cart", "purchase", "refund", "review"]
STRENGTHS: dict[ItemKind, float] = {"view": 1.0, "click": 1.0, "cart": 3.0, "purchase": 5.0}


class FeatureSettings(Section):
    """Windows, and the days in the past that models train on."""

    panel_every_days: Days = 28
    panel_size: Annotated[int, Field(ge=1)] = Field(7, description="how many as_of dates, the asked one included")
    as_of_alone: bool = Field(False, description="write the run's own as_of and no training days, as a backfill does")
    kind_strengths: dict[ItemKind, Annotated[float, Field(ge=0)]] = Field(
        STRENGTHS, min_length=1, description="weight of one event of each kind in an interaction's strength"
    )
    sequence_kinds: tuple[str, ...] = ("view", "cart", "purchase")
    panel_sequences: bool = Field(
        False,
        description="whether item sequences are kept of all days of the panel, on which a head of the transformer trains",
    )
    sequence_length: Annotated[int, Field(ge=2)] = Field(
        256, description="length of a customer's sequence: the last items"
    )


class PanelSettings(Section):
    """The training panel of `clm panel`: past as_of dates with features and labels."""

    first_on: date | None = Field(None, description="the first as_of; None: the run's own")
    last_on: date | None = Field(None, description="the last possible as_of; None: the run's own")
    every_days: Days = 7
    gap_days: Annotated[int, Field(ge=0, le=MOST_DAYS)] = Field(
        0, description="days between as_of and the label's horizon"
    )
    horizon_days: Days = Field(56, description="days of the label's horizon, after the gap")


class DriftSettings(Section):
    """When a feature counts as drifted."""

    against_days: Days = Field(28, description="as_of is compared with the day this many days before")
    sample_rows: Annotated[int, Field(ge=100)] = Field(
        20_000, description="about this many rows of each day are sampled"
    )
    min_rows: Annotated[int, Field(ge=1)] = Field(
        200, description="with fewer rows on one of the days no feature counts as drifted: the index is mostly noise"
    )
    max_psi: Annotated[float, Field(gt=0)] = Field(
        0.25, description="population stability index above which a feature has drifted"
    )


class RecommendSettings(Section):
    """The daily lists."""

    top_k: NumItems = Field(20, description="items of a customer's list, where the surface names no length")
    test_days: Days = Field(28, description="days before as_of held out to compare recommenders")
    min_item_events: Annotated[int, Field(ge=1)] = Field(5, description="rarer items get no index")
    max_items: Annotated[int, Field(ge=10)] = Field(
        200_000,
        description="items that models may recommend at once, first come first served; a run warns before it is reached. What is "
        "popular fills lists up whether it is among them or not",
    )
    retire_after_days: Days | None = Field(
        365, description="an item that nobody took to for longer is in no list, until somebody does; null: never"
    )
    hide_seen: bool = Field(
        False, description="leave out items that the customer already interacted with: wrong where people buy again"
    )
