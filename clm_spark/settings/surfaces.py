"""Where lists are shown, and the business rules of each place."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from clm_spark.settings.section import Section

NumItems = Annotated[int, Field(ge=1)]


def _rise(places: tuple[int, ...]) -> tuple[int, ...]:
    if places and (places[0] < 1 or any(later <= place for place, later in pairwise(places))):
        raise ValueError(f"expected places from 1 on, each behind the one before, came {list(places)}")
    return places


def _is_band(band: tuple[float, float] | None) -> tuple[float, float] | None:
    if band is not None and not 0 <= band[0] < band[1]:
        raise ValueError(f"expected the lower limit before the upper one, came {list(band)}")
    return band


class SurfaceSettings(Section):
    """One place where a list is shown: its length, and the rules over the ranked candidates. None: the rule is off.

    Items out of stock and items that the shop excludes (silver.item_facts) are shown nowhere.
    """

    length: Annotated[int, Field(ge=0)] | None = Field(
        None, description="items of the list; 0: no list is made; None: recommend.top_k"
    )
    permission: str | None = Field(
        None, description="channel that the customer must have agreed to, as silver.contact_permissions names it"
    )
    hidden_categories: tuple[str, ...] = Field((), description="categories that are not shown here")
    repeat_share: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="an item that was bought comes again after this share of the usual days between two purchases: of the "
        "customer's own with the item, else of its category; never where the category knows no second purchase",
    )
    price_band: Annotated[tuple[float, float] | None, AfterValidator(_is_band)] = Field(
        None,
        description="lowest and highest price of an item, in multiples of what the customer pays for one on average",
    )
    max_impressions: NumItems | None = Field(
        None, description="an item that was shown to the customer so many times in the last 30 days is not shown again"
    )
    max_per_category: NumItems | None = Field(None, description="items of one category in a list")
    max_per_brand: NumItems | None = Field(None, description="items of one brand, by silver.item_facts, in a list")
    min_new: Annotated[int, Field(ge=0)] = Field(
        0, description="places of a list that items bought in the last 365 days may not take"
    )
    sponsored_places: Annotated[tuple[int, ...], AfterValidator(_rise)] = Field(
        (),
        description="places for the customer's best sponsored candidates (silver.item_facts); one that none takes is given "
        "back",
    )

    @model_validator(mode="after")
    def _has_the_paid_places(self) -> Self:
        if self.length and self.sponsored_places and self.sponsored_places[-1] > self.length:
            raise ValueError(f"expected sponsored_places within the list's {self.length} items")
        return self


class HomeSettings(SurfaceSettings):
    """The page that a customer enters the shop by."""


class EmailSettings(SurfaceSettings):
    """A mailing."""

    length: Annotated[int, Field(ge=0)] | None = 6
    permission: str | None = "email"
    max_per_category: NumItems | None = 2


class ProductPageSettings(SurfaceSettings):
    """Beside a product: what the customer has not bought in the last 365 days."""

    length: Annotated[int, Field(ge=0)] | None = 10
    min_new: Annotated[int, Field(ge=0)] = 10


class SurfacesSettings(Section):
    """The daily lists' surfaces."""

    home: HomeSettings = HomeSettings()
    email: EmailSettings = EmailSettings()
    product_page: ProductPageSettings = ProductPageSettings()
    num_candidates: Annotated[int, Field(ge=1)] = Field(
        100, description="ranked candidates of a customer that the rules choose from"
    )
    num_untried: Annotated[int, Field(ge=0)] = Field(
        50,
        description="popular items that the customer has not taken to, as candidates behind these: for places that the rules "
        "empty, such as beside a product, where all that the customer buys is left out",
    )


class ShopFactsSettings(Section):
    """What the shop says of its items and customers: files as they are on the morning of as_of. CSV with a header, or Parquet."""

    items: str | None = Field(
        None,
        description="columns item_id; where known: num_in_stock, brand, is_excluded, is_sponsored. None: nothing is known",
    )
    permissions: str | None = Field(
        None,
        description="columns customer_id (as in the log), channel, is_allowed: who agreed to be written to. None: nobody did",
    )
