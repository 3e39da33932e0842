"""Columns are chosen by their names and by what they hold."""

from clm_spark.inspection.choice import choices
from clm_spark.inspection.columns import columns_of

DAYS = ["2024-01-01", "2024-01-02", "2024-01-03"]
CASES = [  # columns, and the fields they must be
    ({"Date": DAYS, "User ID": ["a", "b", "a"], "SKU": ["x", "y", "z"]}, {"occurred_at": "Date", "customer_id": "User ID", "item_id": "SKU"}),
    # Nothing but `id`: of whom comes again, of the record where none does.
    ({"id": ["1", "2", "3"], "ID": ["u", "u", "v"]}, {"customer_id": "ID", "event_id": "id"}),
    # A constant is nobody, unless there is nobody else.
    ({"userid": ["x", "x", "x"], "userId": ["a", "b", "c"]}, {"customer_id": "userId"}),
    ({"who": ["x", "x", "x"]}, {"customer_id": "who"}),
    # Who is often missing is not the one that the log goes by.
    ({"user": ["a", "", ""], "client": ["a", "b", "c"]}, {"customer_id": "client"}),
    # What is said of a customer or an order is not the customer or the order.
    ({"customer_country": ["a", "b", "a"], "order_status": ["a", "b", "a"], "customer_zip_code": ["1", "2", "1"]}, {}),
    ({"customer_no": ["a", "b", "a"], "order_ref": ["1", "2", "3"]}, {"customer_id": "customer_no", "order_id": "order_ref"}),
    ({"product_name": ["x", "y", "x"], "Lineitem sku": ["1", "2", "1"]}, {"item_id": "product_name"}),
    # An address names the customer where no id does.
    ({"Email": ["a@b.de", "c@d.de", "a@b.de"]}, {"customer_id": "Email"}),
    ({"Email": ["a@b.de", "c@d.de", "a@b.de"], "member": ["1", "2", "1"]}, {"customer_id": "member"}),
    # A number is a time only by its name, and what began a visit is not when the shop knew.
    ({"parcel": ["45351", "45352", "45353"], "serial": ["1709208000", "1709208001", "1709208002"]}, {}),
    ({"unix_time": ["1709208000", "1709208001", "1709208002"]}, {"occurred_at": "unix_time"}),
    ({"ts": DAYS, "session_start": DAYS}, {"occurred_at": "ts"}),
    # Times of another format cannot be read beside the first; nor can a device's clock without the server's.
    ({"ts": DAYS, "received_at": ["1709208000"] * 3, "sent_at": DAYS}, {"occurred_at": "ts"}),
    ({"ts": DAYS, "received_at": DAYS, "sent_at": DAYS}, {"occurred_at": "ts", "known_at": "received_at", "sent_at": "sent_at"}),
    # A type of something else is no kind, and whether there was a visit is no session.
    ({"device_type": ["phone", "tablet", "phone"], "visit": ["0", "1", "1"]}, {}),
    ({"event_type": ["view", "cart", "x"]}, {"kind": "event_type"}),
    ({"tax": ["1", "2", "3"], "Shipping Cost": ["4", "5", "6"]}, {"tax": "tax", "shipping": "Shipping Cost"}),
    ({"tax_id": ["1", "2", "3"], "discount_code": ["4", "5", "6"]}, {}),
    ({"price": ["cheap", "dear", "dear"], "qty": ["1", "2", "3"]}, {"quantity": "qty"}),
]  # fmt: skip


def test_columns_are_chosen_for_what_they_are():
    came = []
    for columns, _ in CASES:
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        came.append((columns, {each.field: each.column for each in choices(columns_of(records, [*columns]))}))
    assert came == CASES


def test_as_good_a_name_is_named():
    records = [{"user": "a", "client": "c"}, {"user": "b", "client": "d"}]
    assert [(each.column, each.as_good) for each in choices(columns_of(records, ["user", "client"]))] == [
        ("user", ("client",))
    ]
