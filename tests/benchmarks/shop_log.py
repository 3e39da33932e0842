"""The synthetic shop's log format and the rules of its events, for the baselines, which do not import clm-spark."""

COLUMNS = (
    "customer_id",
    "occurred_at",
    "known_at",
    "kind",
    "item_id",
    "category",
    "brand",
    "quantity",
    "price",
    "amount",
    "discount",
    "order_id",
    "campaign_id",
    "source_session_id",
    "hit",
    "device",
    "channel",
    "user_agent",
    "rating",
)
ATTRIBUTES = ("channel", "device", "hit", "rating", "user_agent")
TEXTS = ("item_id", "category", "brand", "order_id", "campaign_id", "source_session_id")
KINDS = (
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
NEEDS_ITEM = ("view", "cart", "uncart", "purchase", "refund", "review")
# What an event's id is made of, before the attributes' names and values.
IDENTIFYING_FIELDS = (
    "source",
    "customer_id",
    "kind",
    "occurred_us",
    "item_id",
    "quantity",
    "price_cents",
    "amount_cents",
    "discount_cents",
    "order_id",
    "campaign_id",
    "source_session_id",
)
EVENT = (
    "event_id",
    "customer_id",
    "kind",
    "occurred_at",
    "known_at",
    "item_id",
    "category",
    "brand",
    "quantity",
    "price_cents",
    "amount_cents",
    "discount_cents",
    "order_id",
    "campaign_id",
    "source_session_id",
    "attributes",
    "source",
)
SOURCE = "mapping:demo_shop"
MAX_RECORD_BYTES = 1 << 20
