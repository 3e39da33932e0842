"""Partial aggregates, and the features of customers and items."""

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import (
    AS_OF,
    BIGINT,
    BOOL,
    CUSTOMER_ID,
    DATE,
    DAY_ON,
    DOUBLE,
    ID_IN_EVENTS,
    INT,
    ITEM_ID,
    KNOWN_ON,
    STRING,
    TIME,
    count,
    share,
)
from clm_spark.tables.contract import Column, Table
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.item_features import CATEGORY_FIGURES, NUM_TOP_CATEGORIES, OF_ITEMS, OF_PAIRS, TASTES
from clm_spark.tables.measures import CUSTOMER_MEASURES, NUM_OF_KIND, OF_CUSTOMERS, OF_ITEM


def _taste(name: str, figure: str, words: str) -> tuple[Column, ...]:
    days = figure.rsplit("_", 1)[1]
    return (
        count(f"num_{name}_categories_{days}", f"different categories {words}"),
        Column(
            f"top_{name}_categories_{days}",
            T.ArrayType(STRING, containsNull=False),
            f"the {NUM_TOP_CATEGORIES} categories most {words}, the most first, ties by name; of those that have a name",
        ),
        share(
            f"top_{name}_category_{days}_share",
            f"the first of them, of all {words} that have a category; null: none",
            nullable=True,
        ),
        Column(
            f"{name}_entropy_{days}",
            DOUBLE,
            f"Shannon entropy of the categories {words}, in bits: 0 is a single one; null: none",
            nullable=True,
            check=f"{name}_entropy_{days} >= 0",
        ),
    )


CUSTOMER_DAYS = Table(
    "gold",
    "customer_days",
    "customer, active day and day on which this version became known: partial aggregates",
    key=("customer_id", "day_on", "known_on"),
    clock="versions",
    slices=("known_on",),
    is_partitioned=False,  # a day of a small shop is no file's worth
    filtered_by=("day_on",),
    columns=(
        ID_IN_EVENTS,
        DAY_ON,
        KNOWN_ON,
        *(count(measure.name, measure.meaning) for measure in CUSTOMER_MEASURES),
    ),
)


CUSTOMER_ITEM_DAYS = Table(
    "gold",
    "customer_item_days",
    "customer, item, active day and day on which this version of the customer's day became known: partial aggregates",
    key=("customer_id", "item_id", "day_on", "known_on"),
    clock="versions",
    slices=("known_on",),
    is_partitioned=False,
    filtered_by=("day_on",),
    columns=(
        ID_IN_EVENTS,
        ITEM_ID,
        DAY_ON,
        KNOWN_ON,
        Column("category", STRING, "the item's category, as the customer saw it last that day", nullable=True),
        *(count(measure.name, measure.meaning) for measure in OF_ITEM),
        count("num_co_views", "other items that the customer viewed that day; 0 where this one was not viewed"),
        *(
            Column(f"last_{kind}_at", TIME, f"the last {kind} of it that day; null: none", nullable=True)
            for kind in NUM_OF_KIND
        ),
    ),
)


ITEM_DAYS = Table(
    "gold",
    "item_days",
    "item, active day and day on which this version became known: partial aggregates",
    key=("item_id", "day_on", "known_on"),
    clock="versions",
    slices=("known_on",),
    is_partitioned=False,
    filtered_by=("day_on",),
    columns=(
        ITEM_ID,
        DAY_ON,
        KNOWN_ON,
        Column("category", STRING, "its category, as its busiest customer of the day saw it", nullable=True),
        *(count(measure.name, measure.meaning) for measure in OF_CUSTOMERS),
        Column("viewers", T.BinaryType(), "theta sketch of the customers who viewed it, as theta_union_agg takes it"),
        Column("buyers", T.BinaryType(), "theta sketch of the customers who bought it"),
    ),
)


CUSTOMER_FEATURES = Table(
    "gold",
    "customer_features",
    "customer and as_of: what was known about the customer that morning",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        AS_OF,
        *(feature.column for feature in FEATURES),
    ),
)


ITEM_FEATURES = Table(
    "gold",
    "item_features",
    "item and as_of: what was known about the item that morning",
    key=("item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(ITEM_ID, AS_OF, *(feature.column for feature in OF_ITEMS)),
)


PAIR_FEATURES = Table(
    "gold",
    "pair_features",
    "customer, item of the last 365 days and as_of: what was known about the customer with the item that morning",
    key=("customer_id", "item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(CUSTOMER_ID, ITEM_ID, AS_OF, *(feature.column for feature in OF_PAIRS)),
)


CUSTOMER_CATEGORIES = Table(
    "gold",
    "customer_categories",
    "customer, category and as_of: the customer's activity in the category",
    key=("customer_id", "category", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        Column("category", STRING, "the category; null: items that have none", nullable=True),
        AS_OF,
        *(count(measure.name, measure.meaning) for measure in CATEGORY_FIGURES),
    ),
)


CUSTOMER_TASTES = Table(
    "gold",
    "customer_tastes",
    "customer and as_of: affinities to categories, and variety",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        AS_OF,
        *(count(measure.name, measure.meaning) for measure in CATEGORY_FIGURES),
        *(column for taste in TASTES for column in _taste(*taste)),
    ),
)


FEATURE_DRIFT = Table(
    "gold",
    "feature_drift",
    "table, feature and as_of: how far its values are from those of an earlier day",
    key=("table_name", "feature", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        Column("table_name", STRING, "the table that holds the feature"),
        Column("feature", STRING, "its column"),
        AS_OF,
        Column("compared_with", DATE, "the as_of compared with: drift.against_days before"),
        count("num_rows", "rows of as_of in the sample"),
        count("num_rows_before", "rows of the earlier day in the sample"),
        share("null_share", "rows without a value"),
        share("null_share_before", "rows of the earlier day without a value"),
        Column("mean", DOUBLE, "mean of the values; null: none", nullable=True),
        Column("mean_before", DOUBLE, "mean of the earlier day's; null: none", nullable=True),
        Column(
            "psi",
            DOUBLE,
            "population stability index over the tenths of the earlier day's values, null being one more",
            check="psi >= 0",
        ),
        Column(
            "has_drifted", BOOL, "whether it is above drift.max_psi, of no fewer rows than drift.min_rows on both days"
        ),
    ),
)


CUSTOMER_LABELS = Table(
    "gold",
    "customer_labels",
    "customer and as_of of a training panel: what came after that morning",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        AS_OF,
        Column("gap_days", INT, "days from as_of on that are left out", check="gap_days >= 0"),
        Column("horizon_days", INT, "days of the horizon, after the gap", check="horizon_days > 0"),
        Column("labelled_on", DATE, "the as_of of the run: the label is made of what was known by then"),
        count("num_orders_ahead", "baskets bought in the horizon"),
        Column("net_revenue_ahead_cents", BIGINT, "bought less refunded in the horizon"),
        Column("is_churned", BOOL, "whether nothing was bought in it"),
    ),
)


ITEM_INDICES = Table(
    "gold",
    "item_indices",
    "item seen, and as_of: how often, and the index it has for good",
    key=("item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        ITEM_ID,
        AS_OF,
        Column(
            "item_index",
            INT,
            "1, 2, ... in the order items became frequent enough, never another's; null: not frequent enough yet",
            nullable=True,
            check="item_index > 0",
        ),
        count("num_events", "interactions known before as_of, less those of days that turned out to be a bot's"),
        Column("category", STRING, "that of the last day with one; null: none", nullable=True),
        Column("category_on", DATE, "that day; null: none", nullable=True),
        Column("last_seen_on", DATE, "the last day of an interaction"),
    ),
)


ITEM_VOCABULARY = Table(
    "gold",
    "item_vocabulary",
    "item that recommenders may show, and as_of: with an index, not retired, within recommend.max_items",
    key=("item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        ITEM_ID,
        AS_OF,
        Column(
            "item_index",
            INT,
            "as in gold.item_indices: an index once given stays, and has gaps where items retired; 0 is padding",
            check="item_index > 0",
        ),
        count("num_events", "interactions known before as_of"),
        Column("category", STRING, "last category seen", nullable=True),
    ),
)


INTERACTIONS = Table(
    "gold",
    "interactions",
    "customer, item and as_of: strength of the interaction",
    key=("customer_id", "item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        Column(
            "customer_index",
            INT,
            "0, 1, ... within an as_of: MLlib's ALS wants whole numbers",
            check="customer_index >= 0",
        ),
        ITEM_ID,
        Column("item_index", INT, "as in gold.item_vocabulary", check="item_index > 0"),
        AS_OF,
        count("num_events", "interactions"),
        Column("strength", DOUBLE, "sum of the events' strengths by kind, from the settings", check="strength >= 0"),
        Column("last_at", TIME, "last interaction"),
    ),
)


ITEM_SEQUENCES = Table(
    "gold",
    "item_sequences",
    "customer and as_of: items in the order of time",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        AS_OF,
        Column(
            "item_indices", T.ArrayType(INT, containsNull=False), "item_index of the last interactions, oldest first"
        ),
        Column("length", INT, "how many", check="length > 0"),
        Column(
            "kinds",
            T.ArrayType(STRING, containsNull=False),
            "kind of each of them; null: made by a release before 0.2.0",
            nullable=True,
            check="size(kinds) = length",
        ),
        Column(
            "times",
            T.ArrayType(T.TimestampType(), containsNull=False),
            "occurred_at of each of them; null: made by a release before 0.2.0",
            nullable=True,
            check="size(times) = length",
        ),
        Column(
            "prices",
            T.ArrayType(BIGINT),
            "price of one unit in cents of each of them, null where unknown; null as a whole: made by a release before 0.2.0",
            nullable=True,
            check="size(prices) = length",
        ),
    ),
)
