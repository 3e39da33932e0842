"""What a synthetic shop is drawn from. The same `Shop` gives the same rows on any number of cores and files."""

from datetime import UTC, date, datetime
from typing import Annotated
from zlib import crc32

import numpy as np
from pydantic import Field, model_validator

from clm_spark.settings import Section

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

BLOCK_CUSTOMER_DAYS = 100_000  # customers times days in one block: bounds the memory of a worker


class ShopParameters(Section):
    """The laws of the shop: rates, shares and shapes. Written beside the data, to be compared with estimates."""

    # What is sold
    categories: tuple[str, ...] = (
        "books", "music", "toys", "garden", "kitchen", "beauty", "shoes", "dresses", "sports", "phones", "computers",
        "groceries",
    )  # fmt: skip
    num_items: Count = 2_000
    brands_per_category: Count = 5
    popularity_exponent: float = Field(0.8, ge=0, description="Zipf: popularity falls as rank to the minus this")
    median_price: Positive = 20.0
    price_spread: float = Field(0.5, ge=0, description="standard deviation of log price, within and between categories")
    item_season_swing: Share = Field(0.6, description="the largest rise of an item in its peak month")

    # Who comes: visits by a gamma-Poisson process, drop-out by a beta law after purchases (BG/NBD)
    joined_before_share: Share = Field(
        0.5, description="customers there when the log begins; the others join over time"
    )
    visit_rate_shape: Positive = 0.8
    visits_per_day: Positive = Field(0.15, description="mean over customers of the rate while active")
    dropout_a: Positive = 1.0
    dropout_b: Positive = 4.0
    taste_concentration: Positive = Field(0.3, description="Dirichlet over categories: the lower, the stronger tastes")
    price_sensitivity: float = Field(0.5, ge=0, description="mean elasticity of looking at an item to its price")
    responders_share: Share = 0.3
    annoyed_share: Share = 0.1

    # When they come
    weekday_weights: tuple[Positive, ...] = (0.95, 0.95, 0.95, 1.0, 1.05, 1.1, 1.0)  # Monday first
    hour_weights: tuple[Positive, ...] = (
        0.3, 0.2, 0.1, 0.1, 0.1, 0.2, 0.4, 0.7, 1.0, 1.2, 1.3, 1.3, 1.3, 1.2, 1.2, 1.2, 1.3, 1.4, 1.5, 1.7, 1.9, 1.8,
        1.2, 0.6,
    )  # fmt: skip
    yearly_swing: Annotated[float, Field(ge=0, lt=1)] = 0.25
    yearly_peak_day: Annotated[int, Field(ge=1, le=366)] = 345

    # What they do in a visit
    looks_per_visit: Annotated[float, Field(ge=1)] = Field(7.0, description="mean number of items come across")
    seconds_per_look: Positive = 45.0
    impression_share: Share = Field(0.7, description="of looks, shown by the shop")
    search_share: Share = Field(0.1, description="of looks, led by a search")
    view_share: Share = Field(0.6, description="of looks at the category's typical price, opened")
    cart_share: Share = Field(0.12, description="of views in which nothing is bought")
    uncart_share: Share = Field(0.3, description="of carts that are not bought")
    buy_share: Share = Field(0.12, description="of visits, without a campaign")
    first_visit_buy_share: Share = Field(0.12, description="of first visits; at 1 everybody's clock starts by buying")
    extra_line_share: Share = Field(0.15, description="of the other views of a visit that buys")
    promotion_share: Share = Field(0.1, description="of lines bought, at a discount")
    promotion_discount: Share = 0.2
    refund_share: Share = 0.05
    refund_days: Positive = Field(7.0, description="mean delay")
    review_share: Share = 0.1
    review_days: Positive = Field(10.0, description="mean delay")

    # Campaigns to a randomised part of the customers
    campaign_every_days: Count = 28
    campaign_days: Count = 14
    treated_share: Share = 0.5
    uplift_from: float = Field(0.3, ge=0, description="lowest true uplift: 0.3 is 30% more buying visits of responders")
    uplift_to: float = Field(0.9, ge=0)
    coupon_share: Share = Field(0.6, description="of buying visits of the treated")
    coupon_discount: Share = 0.15

    # How the log is written
    late_share: Share = Field(0.01, description="of events, known only days after they happened")
    late_days: Positive = Field(3.0, description="mean delay")
    duplicate_share: Share = Field(0.002, description="of events, written twice")
    broken_share: Share = Field(0.001, description="of events, followed by a broken copy")

    @model_validator(mode="after")
    def _fits_together(self) -> "ShopParameters":
        if not self.categories or self.num_items < len(self.categories):
            raise ValueError("num_items must be at least one per category")
        if (len(self.weekday_weights), len(self.hour_weights)) != (7, 24):
            raise ValueError("weekday_weights takes 7 and hour_weights 24 values")
        if self.campaign_days > self.campaign_every_days:
            raise ValueError("campaign_days must not be above campaign_every_days: campaigns do not overlap")
        if self.uplift_from > self.uplift_to or self.responders_share + self.annoyed_share > 1:
            raise ValueError("uplift_from must not be above uplift_to, nor response shares above 1 together")
        return self


class Shop(Section):
    """A shop to be drawn: its size, its seed and its laws."""

    customers: Count
    days: Count
    start_on: date
    seed: Annotated[int, Field(ge=0)]
    parameters: ShopParameters = ShopParameters()

    @property
    def customers_per_block(self) -> int:
        """Customers drawn together from one stream of random numbers: fewer the longer the log, to bound memory."""
        return max(16, BLOCK_CUSTOMER_DAYS // self.days)

    @property
    def num_blocks(self) -> int:
        """How many blocks hold all customers."""
        return -(-self.customers // self.customers_per_block)

    @property
    def start_ms(self) -> int:
        """Midnight UTC of the first day, in milliseconds since 1970."""
        midnight = datetime(self.start_on.year, self.start_on.month, self.start_on.day, tzinfo=UTC)
        return int(midnight.timestamp()) * 1000

    def stream(self, purpose: str, block: int = 0) -> np.random.Generator:
        """Random numbers of their own for each purpose and block, so that one draw more here moves nothing there."""
        return np.random.default_rng([self.seed, crc32(purpose.encode()), block])
