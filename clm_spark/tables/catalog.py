"""Every table, in the order a click meets them. The DDL, the constraints and the data dictionary come from here."""

from pyspark.sql import types as T

from clm_spark.tables.contract import Column, Table, one_of
from clm_spark.tables.customer_features import FEATURES
from clm_spark.tables.item_features import CATEGORY_FIGURES, NUM_TOP_CATEGORIES, OF_ITEMS, OF_PAIRS, TASTES
from clm_spark.tables.measures import CUSTOMER_MEASURES, OF_CUSTOMERS, OF_ITEM, OF_VISIT

# What can happen between a customer and the shop.
EVENT_KINDS = (
    "view",
    "search",
    "cart",
    "uncart",
    "purchase",
    "refund",
    "impression",
    "click",
    "coupon_redeemed",
    "campaign_sent",
    "review",
)
REJECT_REASONS = (
    "too_large",
    "wrong_encoding",
    "unparsable",
    "missing_customer",
    "missing_item",
    "unknown_kind",
    "impossible_time",
    "bad_number",
    "negative_quantity",
    "too_late",
)
# What becomes of raw records: read = kept + rejected + duplicates.
COUNTS = ("num_read", "num_kept", "num_rejected", "num_duplicates")
CUTOFF_REASONS = ("shared_visitor", "large_group")
BOT_RULES = ("rate_per_minute", "rate_per_day", "carts_without_view", "user_agent")
RECOMMENDERS = ("popularity", "als", "transformer")

BOOL = T.BooleanType()
BIGINT = T.LongType()
DATE = T.DateType()
DOUBLE = T.DoubleType()
INT = T.IntegerType()
STRING = T.StringType()
TIME = T.TimestampType()


def _count(name: str, comment: str) -> Column:
    return Column(name, BIGINT, comment, check=f"{name} >= 0")


def _share(name: str, comment: str, *, nullable: bool = False) -> Column:
    return Column(name, DOUBLE, comment, nullable=nullable, check=f"{name} BETWEEN 0 AND 1")


def _taste(name: str, figure: str, words: str) -> tuple[Column, ...]:
    days = figure.rsplit("_", 1)[1]
    return (
        _count(f"num_{name}_categories_{days}", f"different categories {words}"),
        Column(
            f"top_{name}_categories_{days}",
            T.ArrayType(STRING, containsNull=False),
            f"the {NUM_TOP_CATEGORIES} categories most {words}, the most first, ties by name; of those that have a name",
        ),
        _share(
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


CUSTOMER_ID = Column(
    "customer_id", STRING, "keyed pseudonym of the customer: HMAC-SHA256, hexadecimal", rekeyed="pseudonym"
)
AS_OF = Column("as_of", DATE, "the day this row speaks for: it knows what happened and was known before that day")
MODEL_VERSION = Column("model_version", STRING, "the model that made this row, as the registry names it")
ITEM_ID = Column("item_id", STRING, "the item")
DAY_ON = Column("day_on", DATE, "the day it happened")
KNOWN_ON = Column("known_on", DATE, "the day we learned of it: this row holds all of the day that was known by then")
ID_IN_EVENTS = Column(
    "customer_id",
    STRING,
    "the id in the event, as in silver.events: silver.identities says whose it is",
    rekeyed="pseudonym",
)
BATCH_ID = Column(
    "batch_id", STRING, "the ingested batch: a hash over its files' names, sizes and times, or over a stream's step"
)
SOURCE = Column("source", STRING, "the raw format it came in, one of clm_spark.sources")
FILE = Column("file", STRING, "URL of the raw file, or kafka://TOPIC/PARTITION")
HEADER = Column("header", STRING, "the file's own header, where it differs from the usual one", nullable=True)
POSITION = Column("position", BIGINT, "line of the text file or row of the Parquet file, from 1; offset in Kafka")

INGESTED_FILES = Table(
    "bronze",
    "ingested_files",
    "raw file taken in",
    key=("file", "size_bytes", "modified_at"),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        FILE,
        Column("size_bytes", BIGINT, "length of the file"),
        Column("modified_at", TIME, "when the file was last modified"),
        Column("num_read", BIGINT, "raw records read; null until its batch is in, as the others", nullable=True),
        Column("num_kept", BIGINT, "records that became events", nullable=True, check="num_kept >= 0"),
        Column("num_rejected", BIGINT, "records set aside with a reason", nullable=True),
        Column("num_duplicates", BIGINT, "records that repeat an event", nullable=True, check="num_duplicates >= 0"),
    ),
    checks={"nothing_is_lost": "num_read IS NULL OR num_read = num_kept + num_rejected + num_duplicates"},
)

RAW_EVENTS = Table(
    "bronze",
    "raw_events",
    "raw record, exactly as it arrived",
    key=("batch_id", "file", "position"),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        FILE,
        POSITION,
        Column("arrived_at", TIME, "when its file was last modified, or Kafka got it"),
        HEADER,
        Column(
            "record",
            STRING,
            "the text line; for Parquet the row as JSON; encrypted unless privacy.keep_raw_ids",
            nullable=True,
            rekeyed="record",
            is_sensitive=True,
        ),
    ),
)

REJECTED_EVENTS = Table(
    "bronze",
    "rejected_events",
    "raw record that could not be used",
    key=("batch_id", "file", "position"),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        FILE,
        POSITION,
        Column("arrived_at", TIME, "when its file was last modified, or Kafka got it"),
        Column("reason", STRING, "why, from a closed list", check=one_of("reason", REJECT_REASONS)),
        HEADER,
        Column(
            "record",
            STRING,
            "the raw record, as in bronze.raw_events",
            nullable=True,
            rekeyed="record",
            is_sensitive=True,
        ),
        Column("replayed_in", STRING, "the batch that took it in after the mapping was mended", nullable=True),
    ),
)

INGESTED_BATCHES = Table(
    "bronze",
    "ingested_batches",
    "ingested batch: the proof that nothing was lost",
    key=("batch_id",),
    slices=("batch_id",),
    columns=(
        BATCH_ID,
        SOURCE,
        _count("num_files", "files in the batch"),
        _count("num_read", "raw records read"),
        _count("num_kept", "records that became events"),
        _count("num_rejected", "records set aside with a reason"),
        _count("num_duplicates", "records that repeat an event"),
        Column(
            "new_columns", T.ArrayType(STRING), "columns the source does not know, kept in attributes", nullable=True
        ),
        Column("first_occurred_at", TIME, "earliest event kept", nullable=True),
        Column("last_occurred_at", TIME, "latest event kept", nullable=True),
        Column("first_learned_at", TIME, "from when on a day can see any of them", nullable=True),
        Column("last_learned_at", TIME, "from when on a day can see all of them", nullable=True),
        Column("events_version", BIGINT, "Delta version of silver.events that first holds them"),
        Column("job", STRING, "the job that took it in"),
        AS_OF,
    ),
    checks={"nothing_is_lost": "num_read = num_kept + num_rejected + num_duplicates"},
)

EVENTS = Table(
    "silver",
    "events",
    "event: something that happened between a customer and the shop",
    key=("event_id",),
    clock="events",
    slices=("batch_id",),
    filtered_by=("occurred_at", "known_at", "visitor_id"),
    columns=(
        Column(
            "event_id",
            STRING,
            "md5 over what the event says: the same event has the same id wherever it is read",
            rekeyed="event_id",
        ),
        Column(
            "customer_id",
            STRING,
            "keyed pseudonym of the login; of the device or cookie where nobody logged in",
            rekeyed="pseudonym",
        ),
        Column(
            "visitor_id",
            STRING,
            "keyed pseudonym of the device or cookie, in a domain of its own",
            nullable=True,
            rekeyed="pseudonym",
        ),
        Column("kind", STRING, "what happened", check=one_of("kind", EVENT_KINDS)),
        Column("occurred_at", TIME, "when it happened"),
        Column("known_at", TIME, "when we learned of it"),
        Column("item_id", STRING, "the item, where one is concerned", nullable=True),
        Column("category", STRING, "the item's category at that moment", nullable=True),
        Column("brand", STRING, "the item's brand", nullable=True),
        Column("quantity", BIGINT, "units", nullable=True, check="quantity >= 0"),
        Column("price_cents", BIGINT, "price of one unit as shown", nullable=True, check="price_cents >= 0"),
        Column(
            "amount_cents",
            BIGINT,
            "money moved by this line, refunds too as a positive figure",
            nullable=True,
            check="amount_cents >= 0",
        ),
        Column(
            "discount_cents",
            BIGINT,
            "taken off the list price on this line",
            nullable=True,
            check="discount_cents >= 0",
        ),
        Column("order_id", STRING, "the basket", nullable=True),
        Column("campaign_id", STRING, "the campaign or coupon concerned", nullable=True),
        Column("source_session_id", STRING, "the visit as the raw log numbers it", nullable=True),
        Column("attributes", T.MapType(STRING, STRING), "whatever else the record said", nullable=True),
        SOURCE,
        BATCH_ID,
    ),
)

IDENTITY_LINKS = Table(
    "silver",
    "identity_links",
    "visitor id, login and day on which we learned that they belong together",
    key=("visitor_id", "customer_id", "known_on"),
    slices=("known_on",),
    columns=(
        Column("visitor_id", STRING, "the device or cookie, as in silver.events", rekeyed="pseudonym"),
        Column("customer_id", STRING, "the login, as in silver.events", rekeyed="pseudonym"),
        Column("known_on", DATE, "the day; one earlier than another row's came with a batch taken in late"),
    ),
)

IDENTITIES = Table(
    "silver",
    "identities",
    "id and day on which we learned that it is another person's than before; an id without a row is its own person",
    key=("id", "known_on"),
    clock="versions",
    slices=("known_on",),
    columns=(
        Column("id", STRING, "a visitor_id or customer_id of silver.events", rekeyed="pseudonym"),
        Column("known_on", DATE, "the day we learned it: an as_of takes the last row known before it"),
        Column("customer_id", STRING, "the person: the login of theirs that was linked first", rekeyed="pseudonym"),
        _count("num_ids", "ids linked with one another on that day, this one among them"),
        Column("is_cut_off", BOOL, "whether these are too many for one person, so that each stands for itself"),
    ),
)

IDENTITY_CUTOFFS = Table(
    "silver",
    "identity_cutoffs",
    "shared visitor id or unusually large group of ids that was not stitched, and day on which it showed",
    key=("id", "known_on", "reason"),
    slices=("known_on",),
    columns=(
        Column("id", STRING, "the visitor_id, or the id of the group that was linked first", rekeyed="pseudonym"),
        Column("known_on", DATE, "the day it showed; a group that grows shows again"),
        Column("reason", STRING, "why", check=one_of("reason", CUTOFF_REASONS)),
        _count("num_ids", "logins of the visitor id, or ids in the group, on that day"),
    ),
)

BOT_DAYS = Table(
    "silver",
    "bot_days",
    "customer, day and rule of bots that was broken",
    key=("customer_id", "day_on", "rule"),
    slices=("rule", "day_on"),
    columns=(
        CUSTOMER_ID,
        Column("day_on", DATE, "the day it happened"),
        Column("rule", STRING, "what people do not do", check=one_of("rule", BOT_RULES)),
        Column("figure", BIGINT, "the number that broke the rule, as it was known by known_on", check="figure > 0"),
        Column("known_on", DATE, "the day we knew: an as_of after it leaves the day out"),
    ),
)

WORKED_BATCHES = Table(
    "silver",
    "worked_batches",
    "table and ingested batch whose events are worked into it",
    key=("table_name", "batch_id"),
    slices=("table_name",),
    columns=(
        Column("table_name", STRING, "the table that follows from the events"),
        BATCH_ID,
        _count("num_kept", "its events at that time; a replay of the same day can bring more"),
        Column("events_version", BIGINT, "Delta version of silver.events that held them"),
        Column(
            "made_with", STRING, "sha-256 over what else the table follows from: after a change all batches are new"
        ),
    ),
)

SESSIONS = Table(
    "silver",
    "sessions",
    "visit: events of one customer without a long silence between them",
    key=("session_id",),
    slices=("started_on",),
    is_partitioned=False,  # a day of a small shop is no file's worth
    filtered_by=("started_at",),
    columns=(
        Column("session_id", STRING, "md5 over the customer and when the visit began", rekeyed="visit_id"),
        CUSTOMER_ID,
        Column("started_on", DATE, "day of the first event"),
        Column("started_at", TIME, "first event"),
        Column("ended_at", TIME, "last event"),
        _count("duration_seconds", "from first to last event"),
        *(_count(measure.name, measure.meaning) for measure in OF_VISIT),
    ),
    checks={"ends_after_start": "ended_at >= started_at"},
)

CUSTOMER_DAYS = Table(
    "gold",
    "customer_days",
    "customer, active day and day we learned of it: partial aggregates",
    key=("customer_id", "day_on", "known_on"),
    clock="versions",
    slices=("known_on",),
    is_partitioned=False,  # a day of a small shop is no file's worth
    filtered_by=("day_on",),
    columns=(
        ID_IN_EVENTS,
        DAY_ON,
        KNOWN_ON,
        *(_count(measure.name, measure.meaning) for measure in CUSTOMER_MEASURES),
    ),
)

CUSTOMER_ITEM_DAYS = Table(
    "gold",
    "customer_item_days",
    "customer, item, active day and day we learned more of the customer's day: partial aggregates",
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
        *(_count(measure.name, measure.meaning) for measure in OF_ITEM),
        _count("num_co_views", "other items that the customer viewed that day; 0 where this one was not viewed"),
    ),
)

ITEM_DAYS = Table(
    "gold",
    "item_days",
    "item, active day and day we learned of it: partial aggregates",
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
        *(_count(measure.name, measure.meaning) for measure in OF_CUSTOMERS),
        Column("viewers", T.BinaryType(), "theta sketch of the customers who viewed it, as theta_union_agg takes it"),
        Column("buyers", T.BinaryType(), "theta sketch of the customers who bought it"),
    ),
)

CUSTOMER_FEATURES = Table(
    "gold",
    "customer_features",
    "customer and as_of: what we know about the customer that morning",
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
    "item and as_of: what we know about the item that morning",
    key=("item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(ITEM_ID, AS_OF, *(feature.column for feature in OF_ITEMS)),
)

PAIR_FEATURES = Table(
    "gold",
    "pair_features",
    "customer, item of the last 365 days and as_of: what we know about the customer with the item that morning",
    key=("customer_id", "item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(CUSTOMER_ID, ITEM_ID, AS_OF, *(feature.column for feature in OF_PAIRS)),
)

CUSTOMER_CATEGORIES = Table(
    "gold",
    "customer_categories",
    "customer, category and as_of: how the customer took to it",
    key=("customer_id", "category", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        Column("category", STRING, "the category; null: items that have none", nullable=True),
        AS_OF,
        *(_count(measure.name, measure.meaning) for measure in CATEGORY_FIGURES),
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
        *(_count(measure.name, measure.meaning) for measure in CATEGORY_FIGURES),
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
        _count("num_rows", "rows of as_of that were looked at"),
        _count("num_rows_before", "rows of the earlier day that were looked at"),
        _share("null_share", "rows without a value"),
        _share("null_share_before", "rows of the earlier day without a value"),
        Column("mean", DOUBLE, "mean of the values; null: none", nullable=True),
        Column("mean_before", DOUBLE, "mean of the earlier day's; null: none", nullable=True),
        Column(
            "psi",
            DOUBLE,
            "population stability index over the tenths of the earlier day's values, null being one more",
            check="psi >= 0",
        ),
        Column("has_drifted", BOOL, "whether it is above drift.max_psi"),
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
        Column("horizon_days", INT, "days after the gap that are looked at", check="horizon_days > 0"),
        Column("labelled_on", DATE, "the as_of of the run that looked: what was known by then"),
        _count("num_orders_ahead", "baskets bought in the horizon"),
        Column("net_revenue_ahead_cents", BIGINT, "bought less refunded in the horizon"),
        Column("is_churned", BOOL, "whether nothing was bought in it"),
    ),
)

ITEM_VOCABULARY = Table(
    "gold",
    "item_vocabulary",
    "item with an index, and as_of; an index once given stays",
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
            "1, 2, ... in the order items became frequent enough; 0 is padding",
            check="item_index > 0",
        ),
        _count("num_events", "interactions known before as_of"),
        Column("category", STRING, "last category seen", nullable=True),
    ),
)

INTERACTIONS = Table(
    "gold",
    "interactions",
    "customer, item and as_of: how strongly the customer took to the item",
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
        _count("num_events", "interactions"),
        Column("strength", DOUBLE, "sum of the strengths that settings give to event kinds", check="strength >= 0"),
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
    ),
)

SEGMENTS = Table(
    "gold",
    "segments",
    "customer and as_of: the segment the customer is in",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        CUSTOMER_ID,
        AS_OF,
        Column("segment", INT, "0, 1, ... from the highest to the lowest mean revenue", check="segment >= 0"),
        MODEL_VERSION,
    ),
)

SEGMENT_PROFILES = Table(
    "gold",
    "segment_profiles",
    "segment and as_of: what its customers have in common",
    key=("segment", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        Column("segment", INT, "as in gold.segments"),
        AS_OF,
        Column("description", STRING, "the segment in words"),
        _count("num_customers", "customers in it"),
        _share("customers_share", "of all customers"),
        _share("revenue_share", "of the last 90 days' revenue"),
        Column("mean_recency_days", DOUBLE, "mean days since the last purchase", nullable=True),
        Column("mean_orders_90d", DOUBLE, "mean baskets in the last 90 days"),
        Column("mean_revenue_90d_cents", DOUBLE, "mean net revenue in the last 90 days"),
        Column("mean_discount_share", DOUBLE, "mean discount share in the last 90 days", nullable=True),
        MODEL_VERSION,
    ),
)

CUSTOMER_SCORES = Table(
    "gold",
    "customer_scores",
    "customer, as_of and score",
    key=("customer_id", "as_of", "score"),
    clock="as_of",
    slices=("as_of", "score"),
    columns=(
        CUSTOMER_ID,
        AS_OF,
        Column("score", STRING, "what is predicted", check=one_of("score", ("churn",))),
        _share("probability", "of the event that the score predicts"),
        Column(
            "decile", INT, "1: the tenth of the customers with the highest probability", check="decile BETWEEN 1 AND 10"
        ),
        MODEL_VERSION,
    ),
)

ITEM_RECOMMENDATIONS = Table(
    "gold",
    "item_recommendations",
    "customer, as_of, recommender and rank",
    key=("customer_id", "as_of", "recommender", "rank"),
    clock="as_of",
    slices=("as_of", "recommender"),
    columns=(
        CUSTOMER_ID,
        AS_OF,
        Column("recommender", STRING, "which model put it there", check=one_of("recommender", RECOMMENDERS)),
        Column("rank", INT, "1: shown first", check="rank > 0"),
        ITEM_ID,
        Column("relevance", DOUBLE, "the model's own score; comparable within one recommender only"),
        MODEL_VERSION,
    ),
)

MODEL_METRICS = Table(
    "gold",
    "model_metrics",
    "task, model, metric and as_of: how well a model did on days it had not seen",
    key=("task", "model", "metric", "as_of"),
    clock="as_of",
    slices=("as_of", "task", "model"),
    columns=(
        Column("task", STRING, "what was asked", check=one_of("task", ("segments", "churn", "recommendation"))),
        Column("model", STRING, "the model or baseline"),
        Column("is_baseline", BOOL, "whether it is the dumb rule to beat"),
        Column("metric", STRING, "the figure's name"),
        AS_OF,
        Column("tested_on", DATE, "the as_of whose following days were the test", nullable=True),
        Column("value", DOUBLE, "the figure"),
        _count("num_tested", "customers in the test"),
        MODEL_VERSION,
    ),
)

SCORE_DECILES = Table(
    "gold",
    "score_deciles",
    "score, model, as_of and decile: lift and calibration on days the model had not seen",
    key=("score", "model", "as_of", "decile"),
    clock="as_of",
    slices=("as_of", "score"),
    columns=(
        Column("score", STRING, "what is predicted"),
        Column("model", STRING, "the model or baseline"),
        AS_OF,
        Column("tested_on", DATE, "the as_of whose following days were the test"),
        Column("decile", INT, "1: the highest probabilities", check="decile BETWEEN 1 AND 10"),
        _count("num_customers", "customers in the decile"),
        Column("mean_probability", DOUBLE, "predicted; for a rule its ranking figure", nullable=True),
        _share("observed_share", "what really came"),
        Column("lift", DOUBLE, "observed share over that of all customers"),
    ),
)

RUNS = Table(
    "gold",
    "runs",
    "job, as_of and table written, and per raw file that the run took in: the manifest",
    key=("job", "as_of", "table_name", "file"),
    slices=("as_of", "job"),
    columns=(
        Column("job", STRING, "the job"),
        AS_OF,
        Column("table_name", STRING, "the table written"),
        Column("file", STRING, "the raw file that this row counts; null: the run as a whole", nullable=True),
        Column("version", BIGINT, "Delta version after the write; null per file, as seconds", nullable=True),
        Column(
            "days",
            T.ArrayType(DATE),
            "the days written, by the table's own as_of, known_on or started_on; null: all, or the table has none",
            nullable=True,
        ),
        _count("num_rows", "rows written"),
        Column("seconds", DOUBLE, "time the write took, its computation included", nullable=True),
        Column("num_read", BIGINT, "raw records read; null where none were, as the next three", nullable=True),
        Column("num_kept", BIGINT, "records that became events", nullable=True),
        Column("num_rejected", BIGINT, "records set aside with a reason", nullable=True),
        Column("num_duplicates", BIGINT, "records that repeat an event", nullable=True),
        Column("inputs", T.MapType(STRING, BIGINT), "Delta version of every table read"),
        Column("settings_hash", STRING, "sha-256 over the settings"),
        Column("code_version", STRING, "version of clm-spark"),
    ),
    checks={"nothing_is_lost": "num_read IS NULL OR num_read = num_kept + num_rejected + num_duplicates"},
)

TABLES = (
    INGESTED_FILES,
    RAW_EVENTS,
    REJECTED_EVENTS,
    INGESTED_BATCHES,
    EVENTS,
    IDENTITY_LINKS,
    IDENTITIES,
    IDENTITY_CUTOFFS,
    BOT_DAYS,
    WORKED_BATCHES,
    SESSIONS,
    CUSTOMER_DAYS,
    CUSTOMER_ITEM_DAYS,
    ITEM_DAYS,
    CUSTOMER_FEATURES,
    ITEM_FEATURES,
    PAIR_FEATURES,
    CUSTOMER_CATEGORIES,
    CUSTOMER_TASTES,
    FEATURE_DRIFT,
    CUSTOMER_LABELS,
    ITEM_VOCABULARY,
    INTERACTIONS,
    ITEM_SEQUENCES,
    SEGMENTS,
    SEGMENT_PROFILES,
    CUSTOMER_SCORES,
    ITEM_RECOMMENDATIONS,
    MODEL_METRICS,
    SCORE_DECILES,
    RUNS,
)
