"""What the shop itself says of its items and customers, from its own files."""

from clm_spark.tables.catalog.columns import AS_OF, BIGINT, BOOL, CUSTOMER_ID, ITEM_ID, STRING
from clm_spark.tables.contract import Column, Table

ITEM_FACTS = Table(
    "silver",
    "item_facts",
    "item and as_of: what the shop said of the item that morning",
    key=("item_id", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        ITEM_ID,
        AS_OF,
        Column("num_in_stock", BIGINT, "units in stock; 0 or below: sold out; null: not known", nullable=True),
        Column("brand", STRING, "its brand; null: not known", nullable=True),
        Column("is_excluded", BOOL, "whether the shop recommends it nowhere"),
        Column("is_sponsored", BOOL, "whether somebody pays for it to be shown"),
    ),
)

CONTACT_PERMISSIONS = Table(
    "silver",
    "contact_permissions",
    "customer, channel and as_of: whether the customer had agreed by that morning to be written to",
    key=("customer_id", "channel", "as_of"),
    clock="as_of",
    slices=("as_of",),
    columns=(
        CUSTOMER_ID,
        Column("channel", STRING, "email, sms, app, ..., as the shop names it, in small letters"),
        AS_OF,
        Column("is_allowed", BOOL, "whether the customer agreed; a customer without a row did not"),
    ),
)
