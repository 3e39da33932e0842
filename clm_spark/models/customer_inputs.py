"""What the trained classifiers of customers look at: features of gold.customer_features, as one vector."""

from collections.abc import Sequence

from pyspark.ml import Transformer
from pyspark.ml.feature import SQLTransformer, VectorAssembler

from clm_spark.tables.feature import windowed_name

# Chosen on The Complete Journey, and where customers look before they buy on the synthetic shop; see docs/tried.md.
EVER = (
    "tenure_days",
    "recency_days",
    "purchase_recency_days",
    "num_purchase_days",
    "num_orders",
    "net_revenue_cents",
    "mean_order_cents",
    "mean_gap_days",
    "overdue_ratio",
    "shopping_recency_days",
    "mean_shopping_gap_days",
    "shopping_overdue_ratio",
    "seen_after_purchase_days",
    "orders_trend",
)
WINDOWED = (
    "num_active_days",
    "num_visits",
    "num_views",
    "num_carts",
    "num_orders",
    "num_lines",
    "num_campaigns",
    "num_coupons",
    "net_revenue_cents",
    "discount_share",
)
FEATURES = (*EVER, *(windowed_name(stem, days) for days in (7, 30, 90) for stem in WINDOWED))


def logged_features(features: Sequence[str]) -> list[Transformer]:
    """Counts and cents on a log scale, the unknown as zero: trees do not mind, and a regression needs it."""
    logged = (f"signum({f}) * ln(1 + abs({f}))" for f in features)
    columns = ", ".join(f"coalesce({x}, 0D) AS log_{f}" for x, f in zip(logged, features, strict=True))
    return [
        SQLTransformer(statement=f"SELECT *, {columns} FROM __THIS__"),
        VectorAssembler(inputCols=[f"log_{f}" for f in features], outputCol="features"),
    ]
