"""Where customers stand in their life with the shop."""

from clm_spark.tables.catalog.columns import AS_OF, BIGINT, CUSTOMER_ID, DATE, DOUBLE, INT, STRING, count, share
from clm_spark.tables.contract import Column, Table

# In the order of a life; each is explained in docs/lifecycle.md.
ACTIVE_STAGES = ("new", "activated", "growing", "loyal", "won_back")
SILENT_STAGES = ("at_risk", "lapsed", "lost")
STAGES = ("prospect", *ACTIVE_STAGES, *SILENT_STAGES)
NOT_SEEN = "not_seen"  # in transitions: the day before, nothing was known of the customer

_RHYTHM = "days with a purchase"

PURCHASE_RHYTHMS = Table(
    "gold",
    "purchase_rhythms",
    "first day of a month: how long the shop's customers take from one purchase to the next, as known that morning",
    key=("as_of",),
    clock="as_of",
    slices=("as_of",),
    is_partitioned=False,  # a row a month
    columns=(
        AS_OF,
        count("num_gaps", f"gaps between {_RHYTHM}, of all customers"),
        Column("mean_gap_days", DOUBLE, "their mean; null: none is known", nullable=True, check="mean_gap_days > 0"),
        Column("gap_spread_days", DOUBLE, "their standard deviation", nullable=True, check="gap_spread_days >= 0"),
    ),
)

LIFECYCLE_STAGES = Table(
    "gold",
    "lifecycle_stages",
    "customer and as_of: the stage that the customer was in that morning, and since when",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        CUSTOMER_ID,
        AS_OF,
        Column("stage", STRING, "prospect: never bought; the others by purchases and by silence", values=STAGES),
        Column("since_on", DATE, "the day of the purchase, or of the silence, that brought the customer there"),
        Column(
            "from_stage", STRING, "the stage before; null: seen for the first time then", nullable=True, values=STAGES
        ),
        Column("reason", STRING, "why, in one sentence"),
        Column("num_purchase_days", INT, _RHYTHM, check="num_purchase_days >= 0"),
        Column("last_purchase_on", DATE, "the last of them; null: never bought", nullable=True),
        Column("last_gap_days", INT, "days from the one before to it; null: fewer than two", nullable=True),
        Column("at_risk_on", DATE, "the morning from which silence puts the customer at risk", nullable=True),
        Column("lapsed_on", DATE, "the morning from which the customer counts as lapsed", nullable=True),
        Column("lost_on", DATE, "the morning from which the customer counts as lost", nullable=True),
    ),
    checks={
        "silence_is_in_order": "last_purchase_on IS NULL OR (at_risk_on > last_purchase_on AND lapsed_on > at_risk_on "
        "AND lost_on > lapsed_on)",
    },
)

STAGE_TRANSITIONS = Table(
    "gold",
    "stage_transitions",
    "as_of, stage of the morning before and stage of that morning",
    key=("as_of", "from_stage", "to_stage"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        AS_OF,
        Column("from_stage", STRING, f"{NOT_SEEN}: nothing was known of the customer", values=(NOT_SEEN, *STAGES)),
        Column("to_stage", STRING, "the same stage: the customer stayed there", values=STAGES),
        count("num_customers", "customers who went that way"),
    ),
)

COHORTS = Table(
    "gold",
    "cohorts",
    "first day of a month, month of first purchase and months since: what those customers did in that month",
    key=("as_of", "cohort_on", "months_since"),
    clock="as_of",
    slices=("as_of",),
    is_partitioned=False,  # a few rows a month
    columns=(
        AS_OF,
        Column("cohort_on", DATE, "the first of the month in which the customers bought for the first time"),
        Column("months_since", INT, "0: that month itself", check="months_since >= 0"),
        count("num_customers", "customers of the cohort"),
        count("num_active", "of them bought in the month"),
        count("num_orders", "baskets they bought in it"),
        Column("net_revenue_cents", BIGINT, "bought in it less refunded in it"),
        share("retention", "num_active of num_customers"),
    ),
)

FUNNEL_UNITS = ("visit", "customer")

FUNNEL = Table(
    "gold",
    "funnel",
    "as_of, unit, channel and device: how far the visits of the day before went, and the customers who made them",
    key=("as_of", "unit", "channel", "device"),
    clock="as_of",
    slices=("as_of",),
    is_partitioned=False,  # a few rows a day
    columns=(
        AS_OF,
        Column("unit", STRING, "what is counted", values=FUNNEL_UNITS),
        Column("channel", STRING, "what brought the visit, or the customer's first of the day; unknown: not logged"),
        Column("device", STRING, "what it was made on, in the same way"),
        count("num_visiting", "visits that began the day before as_of, or customers who made them"),
        count("num_viewing", "of them viewed an item"),
        count("num_carting", "of these put something into the cart"),
        count("num_buying", "of these bought"),
        count("num_buying_at_all", "of num_visiting bought, whether or not they viewed or put into the cart before"),
    ),
)

RFM_CELLS = (
    "champions",
    "loyal_customers",
    "potential_loyalists",
    "new_customers",
    "promising",
    "need_attention",
    "about_to_sleep",
    "at_risk",
    "cannot_lose_them",
    "hibernating",
    "lost",
)


def _score(name: str, comment: str) -> Column:
    return Column(name, INT, comment, check=f"{name} BETWEEN 1 AND 5")


RFM_SCORES = Table(
    "gold",
    "rfm_scores",
    "customer who ever bought and as_of: recency, frequency and money as scores, and the cell they make",
    key=("customer_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        CUSTOMER_ID,
        AS_OF,
        count("recency_days", "days since the last purchase"),
        count("num_orders", "baskets in the last 365 days"),
        Column("net_revenue_cents", BIGINT, "bought less refunded in the last 365 days"),
        _score("recency_score", "5: bought most lately"),
        _score("frequency_score", "5: bought most often"),
        _score("monetary_score", "5: brought the most"),
        Column("cell", STRING, "by recency, and frequency and money together", values=RFM_CELLS),
    ),
)
