"""What product, search and category pages show."""

from typing import Annotated, Literal

from pydantic import Field

from clm_spark.settings.section import MOST_DAYS, Days, Section

Count = Annotated[int, Field(ge=1)]
NeighbourOrder = Literal["num_days", "cosine", "lift"]


class NeighbourSettings(Section):
    """Which items are bought together or viewed together."""

    window_days: Days = Field(365, description="days before as_of that are counted")
    top_k: Count = Field(20, description="neighbours of an item, bought with it and viewed with it: each")
    min_customers: Count = Field(
        5, description="customers who took both items on one day; a pair of fewer is left out: mostly chance"
    )
    order: NeighbourOrder = Field(
        "num_days",
        description="the figure that ranks. num_days: days with both, what most take with the item, which predicts baskets best; "
        "cosine (Linden, Smith and York 2003): what belongs to the item, with fewer items that everybody buys; lift: the rarest",
    )
    max_items_per_day: Annotated[int, Field(ge=2)] = Field(
        100, description="items of a customer's day that pairs are counted of; of a longer day a sample, drawn by hash"
    )


class RankingSettings(Section):
    """The items of a category, for each segment and for all customers."""

    window_days: Days = Field(365, description="days before as_of whose purchases count")
    half_life_days: Annotated[float, Field(ge=1, le=MOST_DAYS)] = Field(
        56, description="days after which a purchase counts half as much"
    )
    prior_purchases: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="expected purchases that weigh as much as a segment's own; None: by how far segments are from each other",
    )
    top_k: Count = Field(100, description="items of a category, for each segment")
