"""What models say of customers, and how good they are. Tables are by grain, never by model."""

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import (
    AS_OF,
    BIGINT,
    BOOL,
    CUSTOMER_ID,
    DATE,
    DOUBLE,
    INT,
    MODEL_VERSION,
    STRING,
    count,
    share,
)
from clm_spark.tables.contract import Column, Table

MODEL = Column("model", STRING, "the model or rule, as clm_spark/models declares it")
TASK = Column("task", STRING, "what was asked, as clm_spark/models declares it")
TESTED_ON = Column(
    "tested_on", DATE, "the as_of whose following days were the test; null: no days follow", nullable=True
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
        Column(
            "segment",
            INT,
            "0, 1, ... by mean revenue when first fitted, highest first; a new fit takes over the numbers in use",
            check="segment >= 0",
        ),
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
        Column(
            "name",
            STRING,
            "a name to remember it by, its own within the day; it stays with the number while its words hold",
            nullable=True,
        ),
        Column(
            "sets_apart",
            T.ArrayType(STRING, containsNull=False),
            "how it differs from all customers, the largest difference first, in their standard deviations",
            nullable=True,
        ),
        Column(
            "branch",
            STRING,
            "which half of which half it is: 1.2 has the parent 1; null: its model has no hierarchy",
            nullable=True,
        ),
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

SEGMENT_CHOICES = Table(
    "gold",
    "segment_choices",
    "candidate and as_of: how good other numbers of segments would have been when those in use were fitted",
    key=("candidate", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        AS_OF,
        Column("candidate", STRING, "what was tried, in words"),
        Column("num_segments", INT, "segments that it makes", check="num_segments > 0"),
        share("largest_share", "of a sample of customers, in the largest of them"),
        Column("silhouette", DOUBLE, "how well the sample sits in them, -1 to 1"),
        Column(
            "stability",
            DOUBLE,
            "mean adjusted Rand index of bootstrap refits: 1, all find the same segments; 0, as by chance; null: not measured",
            nullable=True,
        ),
        Column("is_chosen", BOOL, "whether it was fitted to all customers"),
        MODEL_VERSION,
    ),
)

FACTOR_LOADINGS = Table(
    "gold",
    "factor_loadings",
    "factor, feature and as_of: how far a habit goes with a factor, and how the factor's scores are made",
    key=("factor", "feature", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        Column(
            "factor",
            INT,
            "1, 2, ... by what they explain when first fitted; a new fit takes over the numbers of factors that load alike",
            check="factor > 0",
        ),
        Column("feature", STRING, "the habit: a feature of gold.customer_features"),
        AS_OF,
        Column("loading", DOUBLE, "correlation of habit and factor, nearly -1 to 1"),
        Column("words", STRING, "the habits that the factor loads on most, in words"),
        Column("weight", DOUBLE, "score: the sum over habits of weight * (habit - mean) / deviation"),
        Column("mean", DOUBLE, "of the habit, as sign(x) ln(1 + |x|), money in whole units; it stands for null too"),
        Column("deviation", DOUBLE, "standard deviation of the same", check="deviation > 0"),
        Column("fitted_on", DATE, "the as_of of whose customers the factors are"),
    ),
)

CUSTOMER_FACTORS = Table(
    "gold",
    "customer_factors",
    "customer, factor and as_of: how much of the factor the customer has",
    key=("customer_id", "factor", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        CUSTOMER_ID,
        Column("factor", INT, "as in gold.factor_loadings"),
        AS_OF,
        Column("score", DOUBLE, "in standard deviations of the factor; 0: the mean of the customers it was fitted to"),
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
        Column("score", STRING, "what is predicted: the task's name, or a further figure of its models"),
        Column("value", DOUBLE, "the prediction, in `unit`"),
        Column("unit", STRING, "probability, cents, orders, ..."),
        Column("low", DOUBLE, "lower bound of the value's 95 % interval; null: the model gives none", nullable=True),
        Column("high", DOUBLE, "upper bound of it", nullable=True),
        Column("decile", INT, "1: the tenth of the customers with the highest value", check="decile BETWEEN 1 AND 10"),
        Column("label", STRING, "the class the customer is put into; null: the task has none", nullable=True),
        Column(
            "reasons",
            T.ArrayType(STRING, containsNull=False),
            "what moved the value most, in words; null: the model gives none",
            nullable=True,
        ),
        Column("is_fallback", BOOL, "whether the value is a base rate, for want of a model"),
        MODEL,
        MODEL_VERSION,
    ),
)

MODEL_METRICS = Table(
    "gold",
    "model_metrics",
    "task, model, version, metric and as_of: how well a model did, on days it had not seen where tested_on is given",
    key=("task", "model", "model_version", "metric", "as_of"),
    clock="as_of",
    slices=("as_of", "task"),
    columns=(
        TASK,
        MODEL,
        MODEL_VERSION,
        Column("is_baseline", BOOL, "whether it is a rule: nothing but its calibration is fitted"),
        Column("is_incumbent", BOOL, "whether it was in use until this as_of"),
        Column("is_champion", BOOL, "whether it is in use from this as_of on"),
        Column("metric", STRING, "the figure's name"),
        AS_OF,
        TESTED_ON,
        Column("value", DOUBLE, "the figure"),
        Column("low", DOUBLE, "lower bound of its 95 % interval, by bootstrap over customers", nullable=True),
        Column("high", DOUBLE, "upper bound of it", nullable=True),
        Column("lead", DOUBLE, "value less the incumbent's, on the same customers; null: no incumbent", nullable=True),
        Column(
            "lead_low",
            DOUBLE,
            "lower bound of its 95 % interval, which holds for all models together; the best above 0 replaces the incumbent",
            nullable=True,
        ),
        Column("lead_high", DOUBLE, "upper bound of it", nullable=True),
        Column(
            "behind", DOUBLE, "the champion's value less this one's, same customers; null: the champion", nullable=True
        ),
        Column(
            "behind_low",
            DOUBLE,
            "lower bound of its 95 % interval, which holds for all models together: above 0 is beyond chance",
            nullable=True,
        ),
        Column("behind_high", DOUBLE, "upper bound of it", nullable=True),
        count("num_tested", "customers in the test"),
        Column(
            "comparison",
            STRING,
            "sha-256 over the rows, settings, code and incumbent that were compared: the same is not compared twice",
        ),
    ),
)

MODEL_MONITORING = Table(
    "gold",
    "model_monitoring",
    "task, figure and as_of: how the model in use does, and whether that is worth a look",
    key=("task", "figure", "as_of"),
    clock="as_of",
    slices=("as_of",),
    is_partitioned=False,  # a few rows a day
    columns=(
        AS_OF,
        TASK,
        MODEL,
        MODEL_VERSION,
        Column(
            "figure",
            STRING,
            "age_days: since it was trained; drifted_features_share; score_psi: population stability index of today's scores "
            "against those of scored_on; realised_auc, realised_average_precision and observed_per_expected: scores of "
            "scored_on against what came in their horizon",
        ),
        Column("value", DOUBLE, "the figure"),
        Column("low_limit", DOUBLE, "below it, worth a look; of AUC the lower bound in the test", nullable=True),
        Column(
            "high_limit", DOUBLE, "above it, worth a look; both null: no limit, or too few customers", nullable=True
        ),
        Column("is_beyond", BOOL, "whether it is beyond a limit"),
        Column("scored_on", DATE, "the as_of of the scores that it is about; null: of none", nullable=True),
        Column("num_customers", BIGINT, "customers that it is made of; null: of none", nullable=True),
    ),
)

SCORE_DECILES = Table(
    "gold",
    "score_deciles",
    "score, model, version, as_of and decile: lift and calibration on days the model had not seen",
    key=("score", "model", "model_version", "as_of", "decile"),
    clock="as_of",
    slices=("as_of", "score"),
    columns=(
        Column("score", STRING, "what is predicted: the task's name"),
        MODEL,
        MODEL_VERSION,
        AS_OF,
        TESTED_ON,
        Column("decile", INT, "1: the highest values", check="decile BETWEEN 1 AND 10"),
        count("num_customers", "customers in the decile"),
        Column("mean_probability", DOUBLE, "predicted; null: no probability is", nullable=True),
        share("observed_share", "what really came; null: no share is predicted", nullable=True),
        Column("lift", DOUBLE, "what came of the decile over that of all customers, both per customer"),
        Column("mean_value", DOUBLE, "predicted, in the score's unit; null: a probability is", nullable=True),
        Column("mean_observed", DOUBLE, "what really came, in the score's unit; null: a probability is", nullable=True),
    ),
)

SLICE_METRICS = Table(
    "gold",
    "slice_metrics",
    "score, version, as_of, slice, group and metric: how well what is served does for some of the customers",
    key=("score", "model", "model_version", "as_of", "slice", "customers", "metric"),
    clock="as_of",
    slices=("as_of", "score"),
    columns=(
        Column("score", STRING, "what is predicted: the task's name"),
        MODEL,
        MODEL_VERSION,
        AS_OF,
        TESTED_ON,
        Column(
            "slice",
            STRING,
            "what the tested customers are divided by: tenure, value_tier, segment (RFM); of lists tenure, items, purchases",
        ),
        Column("customers", STRING, "the group, in words: of customers, of items, or of purchases"),
        Column("metric", STRING, "the figure's name, as in gold.model_metrics"),
        Column("value", DOUBLE, "the figure, of at most evaluation.max_customers of the tested customers"),
        Column(
            "low",
            DOUBLE,
            "lower bound of its 95 % interval, by bootstrap over the group's customers; of lists by the standard error",
            nullable=True,
        ),
        Column("high", DOUBLE, "upper bound of it", nullable=True),
        count("num_tested", "customers of the group in the test"),
        Column("is_worst", BOOL, "whether no group that is large enough to tell has a lower AUC, or NDCG@10 of lists"),
    ),
)
