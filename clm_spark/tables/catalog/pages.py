"""What product, search and category pages show."""

from clm_spark.tables.catalog.columns import AS_OF, DOUBLE, INT, ITEM_ID, STRING, count, share
from clm_spark.tables.contract import Column, Table

RELATIONS = ("co_bought", "co_viewed")

ITEM_NEIGHBOURS = Table(
    "gold",
    "item_neighbours",
    "item, relation, rank and as_of: an item that customers took on the same day",
    key=("item_id", "relation", "rank", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        ITEM_ID,
        Column("relation", STRING, "whether customers bought or viewed both on the same day", values=RELATIONS),
        Column(
            "rank",
            INT,
            "1: the highest by neighbours.order; ties by num_days, then by the neighbour's item_index",
            check="rank > 0",
        ),
        AS_OF,
        Column("neighbour_item_id", STRING, "the other item"),
        count("num_days", "customers' days with both, in the last neighbours.window_days"),
        count("num_customers", "different customers of those days"),
        share("support_share", "of all customers' days on which anything was bought, or viewed: those with both"),
        share("confidence_share", "of the days with the item: those with the neighbour, too"),
        Column(
            "cosine", DOUBLE, "num_days over the geometric mean of either item's days", check="cosine BETWEEN 0 AND 1"
        ),
        Column(
            "lift",
            DOUBLE,
            "num_days over those to expect if the items had nothing to do with each other",
            check="lift > 0",
        ),
    ),
    checks={"neighbour_is_another_item": "neighbour_item_id <> item_id"},
)


CATEGORY_RANKINGS = Table(
    "gold",
    "category_rankings",
    "category, segment, rank and as_of: the item to show there, by predicted purchases",
    key=("category", "segment", "rank", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        Column("category", STRING, "as in gold.item_vocabulary; null: items that have none", nullable=True),
        Column("segment", INT, "as in gold.segments; null: all customers, whether in a segment or not", nullable=True),
        Column("rank", INT, "1: shown first; ties by all customers' purchases, then by item", check="rank > 0"),
        AS_OF,
        ITEM_ID,
        Column(
            "expected_purchases",
            DOUBLE,
            "days with a purchase of it, per customer, in the recommend.test_days from as_of on",
            check="expected_purchases >= 0",
        ),
        Column(
            "affinity",
            DOUBLE,
            "times what the item is to all and the category to the segment lead to expect; 1: of all customers",
            check="affinity > 0",
        ),
        count("num_purchases", "customers' days with a purchase of it in the last rankings.window_days"),
    ),
)
