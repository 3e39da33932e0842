"""What factor analysis looks at: measures of the last 90 days, on a scale where they are near to symmetric."""

from collections.abc import Sequence

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.draws import drawn
from clm_spark.evaluation.samples import Floats

# A feature of gold.customer_features, and what more of it means in words.
MEASURES = {
    "purchase_recency_days": "a longer silence",
    "tenure_days": "known for longer",
    "num_active_days_90d": "more active days",
    "num_visits_90d": "more visits",
    "num_views_90d": "more views",
    "num_carts_90d": "more carts",
    "num_orders_90d": "more orders",
    "num_lines_90d": "more lines bought",
    "net_revenue_90d_cents": "more revenue",
    "mean_order_90d_cents": "larger orders",
    "lines_per_order_90d": "more lines an order",
    "units_per_order_90d": "more units an order",
    "discount_90d_share": "higher discounts",
    "discounted_lines_90d_share": "more lines at a discount",
    "num_coupons_90d": "more coupons",
    "num_campaigns_90d": "more campaigns received",
    "refunds_per_line_90d": "more refunds",
    "buying_visits_90d_share": "visits that end in a purchase",
    "abandoned_carts_90d_share": "abandoned carts",
    "bounces_90d_share": "visits of one click",
    "acts_per_visit_90d": "deeper visits",
    "mean_visit_90d_seconds": "longer visits",
    "weekend_days_90d_share": "weekends",
    "night_acts_90d_share": "nights",
    "morning_acts_90d_share": "mornings",
    "afternoon_acts_90d_share": "afternoons",
    "mobile_acts_90d_share": "phones and tablets",
    "paid_acts_90d_share": "brought by advertising",
    "email_acts_90d_share": "brought by e-mail",
    "gap_variation": "irregular purchases",
    "orders_trend": "orders on the rise",
}


def scaled(feature: str) -> Column:
    """sign(x) ln(1 + |x|), with money in whole units: numbers of a long tail come near to each other. Null stays null."""
    value = F.col(feature).cast("double") / (100 if feature.endswith("_cents") else 1)
    return F.signum(value) * F.log1p(F.abs(value))


def sampled_measures(customers: DataFrame, *, most: int, seed: int) -> Floats:
    """A row for each of `most` customers with the lowest hashes, a column per measure; NaN where it is null."""
    some = drawn(customers, F.xxhash64("customer_id", F.lit(seed)), "customer_id", most=most)
    rows = some.select(*(scaled(name).alias(name) for name in MEASURES)).toPandas()
    return rows.to_numpy(dtype=np.float64)


def values_of(features: Sequence[str], instead: Sequence[float]) -> Column:
    """The scaled measures of a customer as an array; a null becomes the number `instead` of it."""
    return F.array(*(F.coalesce(scaled(name), F.lit(each)) for name, each in zip(features, instead, strict=True)))
