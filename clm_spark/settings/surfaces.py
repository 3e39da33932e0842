"""Where lists are shown, and the business rules of each place."""

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from clm_spark.settings.section import MOST_LISTED, NumItems, Section

Channel = Annotated[str, Field(min_length=1)]
NumPlaces = Annotated[int, Field(ge=0, le=MOST_LISTED)]


def _rise(places: tuple[int, ...]) -> tuple[int, ...]:
    if places and (places[0] < 1 or any(later <= place for place, later in pairwise(places))):
        raise ValueError(f"expected places from 1 on, each behind the one before, came {list(places)}")
    return places


def _is_band(band: tuple[float, float] | None) -> tuple[float, float] | None:
    if band is not None and not 0 <= band[0] < band[1]:
        raise ValueError(f"expected the lower limit before the upper one, came {list(band)}")
    return band


def _is_all_or_number(places: Any) -> Any:
    is_number = isinstance(places, int) and not isinstance(places, bool) and 0 <= places <= MOST_LISTED
    if not (is_number or places == "all"):
        raise ValueError(f"expected a number of places from 0 to {MOST_LISTED}, or all")
    return places


MinNew = Annotated[int | Literal["all"], BeforeValidator(_is_all_or_number)]


class SurfaceSettings(Section):
    """One place where a list is shown: its length, and the rules over the ranked candidates. None: the rule is off.

    Items out of stock and items that the shop excludes (silver.item_facts) are shown nowhere.
    """

    length: NumPlaces | None = Field(None, description="items of the list; 0: no list is made; None: recommend.top_k")
    permission: Channel | None = Field(
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
        None,
        description="an item with so many impression events of the customer in the last 30 days is not shown again; lists "
        "and mailings are no events",
    )
    max_per_category: NumItems | None = Field(None, description="items of one category in a list")
    max_per_brand: NumItems | None = Field(None, description="items of one brand, by silver.item_facts, in a list")
    min_new: MinNew = Field(
        0, description="places of a list that items bought in the last 365 days may not take; all: none of them"
    )
    sponsored_places: Annotated[tuple[int, ...], AfterValidator(_rise)] = Field(
        (),
        description="places for the customer's best sponsored candidates (silver.item_facts); one that none takes is given "
        "back",
    )


class HomeSettings(SurfaceSettings):
    """The page that a customer enters the shop by."""


class EmailSettings(SurfaceSettings):
    """A mailing."""

    length: NumPlaces | None = 6
    permission: Channel | None = "email"
    max_per_category: NumItems | None = 2


class ProductPageSettings(SurfaceSettings):
    """Beside a product: what the customer has not bought in the last 365 days."""

    length: NumPlaces | None = 10
    min_new: MinNew = "all"


class SurfacesSettings(Section):
    """The daily lists' surfaces."""

    home: HomeSettings = HomeSettings()
    email: EmailSettings = EmailSettings()
    product_page: ProductPageSettings = ProductPageSettings()
    num_candidates: NumItems = Field(100, description="ranked candidates of a customer that the rules choose from")
    num_untried: NumPlaces = Field(
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


def check_surfaces(surfaces: SurfacesSettings, facts: ShopFactsSettings, *, top_k: int) -> None:
    """Raise `ValueError` for places that a list does not have, and for rules that look at a file that none names."""
    for name, asked in surfaces:
        if not isinstance(asked, SurfaceSettings):
            continue
        length = top_k if asked.length is None else asked.length
        if length and asked.sponsored_places and asked.sponsored_places[-1] > length:
            raise ValueError(f"surfaces.{name}: expected sponsored_places within the list's {length} items")
        if length and facts.items is None and (asked.sponsored_places or asked.max_per_brand):
            raise ValueError(
                f"surfaces.{name}: sponsored_places and max_per_brand look at the sponsors and brands of shop_facts.items, "
                "which names no file: name one, or leave them out"
            )
