"""What models say of customers and items, and how good they are."""

from clm_spark.tables.catalog.columns import (
    AS_OF,
    BOOL,
    CUSTOMER_ID,
    DATE,
    DOUBLE,
    INT,
    ITEM_ID,
    MODEL_VERSION,
    STRING,
    count,
    share,
)
from clm_spark.tables.contract import Column, Table, one_of

RECOMMENDERS = ("popularity", "als", "transformer")


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
        count("num_customers", "customers in it"),
        share("customers_share", "of all customers"),
        share("revenue_share", "of the last 90 days' revenue"),
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
        share("probability", "of the event that the score predicts"),
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
        count("num_tested", "customers in the test"),
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
        count("num_customers", "customers in the decile"),
        Column("mean_probability", DOUBLE, "predicted; for a rule its ranking figure", nullable=True),
        share("observed_share", "what really came"),
        Column("lift", DOUBLE, "observed share over that of all customers"),
    ),
)
