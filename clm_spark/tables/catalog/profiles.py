"""What people ask first about a customer, in one row."""

from pyspark.sql import types as T

from clm_spark.tables.catalog.columns import AS_OF, BIGINT, CUSTOMER_ID, DATE, DOUBLE, INT, STRING, count, share
from clm_spark.tables.contract import Column, Table

_WORDS = T.ArrayType(STRING, containsNull=False)
NUM_NEXT_ITEMS = 5


def _optional(name: str, kind: T.DataType, comment: str) -> Column:
    return Column(name, kind, comment, nullable=True)


def _chance(task: str, of: str) -> tuple[Column, ...]:
    return (
        share(f"{task}_probability", f"{of}; null: not asked of this customer", nullable=True),
        _optional(f"{task}_decile", INT, "1: the tenth with the highest"),
        _optional(f"{task}_reasons", _WORDS, "what moved it most; null: its model gives no reasons"),
    )


CUSTOMER_PROFILES = Table(
    "gold",
    "customer_profiles",
    "customer and as_of: what a service agent or a marketer asks first, from the other tables of that morning",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    shared=True,
    columns=(
        CUSTOMER_ID,
        AS_OF,
        _optional("stage", STRING, "as in gold.lifecycle_stages"),
        _optional("stage_since_on", DATE, "the day that brought the customer there"),
        _optional("stage_reason", STRING, "why, in one sentence"),
        _optional("segment", INT, "as in gold.segments"),
        _optional("segment_name", STRING, "a name to remember it by"),
        _optional("segment_description", STRING, "the segment in words"),
        _optional("rfm_cell", STRING, "as in gold.rfm_scores; null: never bought"),
        count("customer_for_days", "days since the first event"),
        count("num_orders", "baskets ever bought"),
        Column("net_revenue_cents", BIGINT, "bought less refunded, ever"),
        Column("net_revenue_365d_cents", BIGINT, "the same, in the last 365 days"),
        _optional("mean_order_cents", DOUBLE, "revenue over baskets; null: never bought"),
        _optional("last_purchase_on", DATE, "null: never bought"),
        _optional("mean_gap_days", DOUBLE, "from one purchase to the next; null: bought on fewer than two days"),
        _optional("due_on", DATE, "the last purchase and a mean gap after it: when the next one is due"),
        share("discount_365d_share", "discount over list price, in the last 365 days", nullable=True),
        _optional("refunds_per_line_365d", DOUBLE, "lines refunded over lines bought, in the last 365 days"),
        _optional("top_bought_categories", _WORDS, "bought most in the last 365 days, the most first"),
        _optional("top_viewed_categories", _WORDS, "viewed most in the last 90 days, the most first"),
        *_chance("churn", "chance to buy nothing in the days to come"),
        *_chance("purchase", "chance to buy in the days to come"),
        _optional("value_cents", DOUBLE, "expected net revenue of the days to come; null: not asked of this customer"),
        _optional("value_low_cents", DOUBLE, "lower bound of its 95 % interval; null: the model gives none"),
        _optional("value_high_cents", DOUBLE, "upper bound of it"),
        _optional("value_decile", INT, "1: the tenth with the highest"),
        _optional(
            "risk_flags", _WORDS, "habits beyond chance, e.g. refund_prone, discount_only; null: no line in 365 days"
        ),
        _optional("next_items", _WORDS, f"the first {NUM_NEXT_ITEMS} items of the customer's list of recommendations"),
    ),
)
