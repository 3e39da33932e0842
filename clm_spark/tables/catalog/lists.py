"""What is shown to whom, and what the business rules kept from being shown."""

from clm_spark.tables.catalog.columns import (
    AS_OF,
    BOOL,
    CUSTOMER_ID,
    DOUBLE,
    INT,
    ITEM_ID,
    MODEL_VERSION,
    STRING,
    count,
)
from clm_spark.tables.contract import Column, Table

SURFACES = ("home", "email", "product_page")
# In the order in which they are asked: a candidate is counted under the first that removes it.
RULES = (
    "stock",
    "exclusion",
    "permission",
    "hidden_category",
    "repeat_interval",
    "price_band",
    "frequency_cap",
    "category_cap",
    "brand_cap",
    "min_new",
)
SURFACE = Column("surface", STRING, "where the list is shown", values=SURFACES)

ITEM_RECOMMENDATIONS = Table(
    "gold",
    "item_recommendations",
    "customer, as_of, surface and rank: the list that is shown, by the champion of the task and the surface's rules",
    key=("customer_id", "as_of", "surface", "rank"),
    clock="as_of",
    slices=("as_of",),
    newest_as="todays_lists",
    columns=(
        CUSTOMER_ID,
        AS_OF,
        SURFACE,
        Column("rank", INT, "1: shown first", check="rank > 0"),
        ITEM_ID,
        Column("relevance", DOUBLE, "the source's own score; comparable within one source only"),
        Column(
            "source", STRING, "the model or rule that put it there: the champion, or the one that fills its list up"
        ),
        Column("reason", STRING, "why, in words", nullable=True),
        Column("is_sponsored", BOOL, "whether somebody paid for its place", default=False),
        MODEL_VERSION,
    ),
)

RECOMMENDATION_EXCLUSIONS = Table(
    "gold",
    "recommendation_exclusions",
    "surface, business rule and as_of: how many candidates it removed; none: no row",
    key=("surface", "rule", "as_of"),
    clock="as_of",
    slices=("as_of",),
    is_partitioned=False,  # a few rows a day
    columns=(
        AS_OF,
        SURFACE,
        Column("rule", STRING, "the rule; of several the first, in the order of this list", values=RULES),
        count("num_candidates", "candidates removed"),
        count("num_shown_without", "of these, candidates that would have stood in the list without any rule"),
        count("num_customers", "customers with a candidate removed"),
    ),
)
