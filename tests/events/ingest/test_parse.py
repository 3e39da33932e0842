import hashlib
import hmac
from datetime import timedelta

from pyspark.sql import functions as F
from source_fields import KEY, typed

from clm_spark.keys import KeyChain
from clm_spark.privacy.pseudonyms import pseudonym, visitor_key
from clm_spark.tables.catalog import REJECT_REASONS

REASONS = [  # case, what differs, reason
    ("as it should be", {}, None),
    ("spaces around", {"customer_id": " c1 ", "kind": " Purchase ", "quantity": " 2 "}, None),
    ("cut off", {"is_parsable": False, "customer_id": None}, "unparsable"),
    ("filtered out", {"is_wanted": False, "customer_id": None}, "filtered"),
    ("no customer", {"customer_id": None}, "missing_customer"),
    ("blank customer", {"customer_id": "  "}, "missing_customer"),
    ("a device alone", {"customer_id": None, "visitor_id": "c1"}, None),
    ("no kind", {"kind": None}, "unknown_kind"),
    ("another kind", {"kind": "hover"}, "unknown_kind"),
    ("no time", {"occurred_at": None}, "impossible_time"),
    ("a word for a time", {"occurred_at": "now"}, "impossible_time"),
    ("an hour without a day", {"occurred_at": "12:00"}, "impossible_time"),
    ("a year for a time", {"occurred_at": "2024"}, "impossible_time"),
    ("31 February", {"occurred_at": "2024-02-31"}, "impossible_time"),
    ("before 1995", {"occurred_at": "1994-12-31T23:59:59Z"}, "impossible_time"),
    ("1995", {"occurred_at": "1995-01-01T00:00:00Z"}, None),
    ("a day after arrival", {"occurred_at": "2024-03-02T00:00:00Z"}, None),
    ("later than that", {"occurred_at": "2024-03-02T00:00:00.000001Z"}, "impossible_time"),
    ("no readable known_at", {"known_at": "later"}, "impossible_time"),
    ("known a week later", {"known_at": "2024-03-07T12:00:00Z"}, None),
    ("known later than that", {"known_at": "2024-03-07T12:00:00.000001Z"}, "too_late"),
    ("too late for a bad number", {"known_at": "2024-03-08T12:00:00Z", "price": "NaN"}, "bad_number"),
    ("no item bought", {"item_id": None}, "missing_item"),
    ("no item searched", {"kind": "search", "item_id": None}, None),
    ("half a number", {"quantity": "2x"}, "bad_number"),
    ("NaN", {"price": "NaN"}, "bad_number"),
    ("comma for a point", {"amount": "12,50"}, "bad_number"),
    ("too large", {"discount": "1e30"}, "bad_number"),
    ("negative price", {"price": "-1"}, "negative_quantity"),
    ("negative amount", {"amount": "-0.01"}, "negative_quantity"),
    ("negative quantity", {"quantity": "-2"}, "negative_quantity"),
    ("negative discount", {"discount": "-2"}, "negative_quantity"),
]


def test_every_reason_is_found(spark):
    cases = [(case, changes) for case, changes, _ in REASONS]
    rows = typed(spark, cases, max_lateness=timedelta(days=7)).collect()
    assert {row.record: row.reason for row in rows} == {case: reason for case, _, reason in REASONS}
    patient = typed(spark, [case for case in cases if case[0].startswith("known later")]).collect()
    assert [row.reason for row in patient] == [None]
    assert len({case for case, *_ in REASONS}) == len(REASONS)
    of_bytes = {"too_large", "wrong_encoding"}  # test_nasty_records.py
    assert {reason for *_, reason in REASONS} - {None} == set(REJECT_REASONS) - of_bytes


MONEY = [  # price, quantity, amount, kind: price cents, units, amount cents
    ("35.79", None, None, "view", (3579, None, None)),
    ("35.79", None, None, "purchase", (3579, 1, 3579)),
    ("35.79", "3", None, "purchase", (3579, 3, 10737)),
    ("35.79", "3", "99.5", "purchase", (3579, 3, 9950)),
    ("10", "2", None, "refund", (1000, 2, 2000)),
    ("10.01", "0.35", None, "purchase", (1001, 1, 350)),
    ("1e3", None, None, "view", (100000, None, None)),
    ("0.005", None, None, "view", (1, None, None)),
    ("0.0049", "0", None, "purchase", (0, 0, 0)),
    (".5", "2.0", None, "cart", (50, 2, None)),
    (None, None, None, "purchase", (None, 1, None)),
    ("99999999999999", "99999999999999", None, "purchase", (9999999999999900, 99999999999999, None)),
]


def test_money_becomes_cents(spark):
    cases = [
        (str(number), {"price": price, "quantity": quantity, "amount": amount, "kind": kind})
        for number, (price, quantity, amount, kind, _) in enumerate(MONEY)
    ]
    rows = {int(row.record): row for row in typed(spark, cases).collect()}
    came = [(rows[n].price_cents, rows[n].quantity, rows[n].amount_cents) for n in range(len(MONEY))]
    assert came == [expected for *_, expected in MONEY]


def test_pseudonyms_are_those_of_pythons_hmac(spark):
    texts = ["541312140", "Zoë", "客户", ""]
    rows = spark.createDataFrame([(text,) for text in [*texts, None]], "text string")
    for links in ((b"a key for tests only",), (bytes(range(64)), hashlib.sha512(b"long").digest() * 2)):
        named = rows.select("text", pseudonym(F.col("text"), key=KeyChain(links)).alias("name"))
        expected = {text: text for text in texts}
        for link in links:  # each hashes what the one before made
            expected = {text: hmac.new(link, name.encode(), "sha256").hexdigest() for text, name in expected.items()}
        assert {row.text: row.name for row in named.collect()} == expected | {None: None}


def test_a_visitor_is_named_apart_from_a_login(spark):
    cases = [
        ("login", {}),
        ("login on a device", {"visitor_id": "c1"}),
        ("device", {"customer_id": None, "visitor_id": "c1"}),
        ("another device", {"customer_id": None, "visitor_id": " c2 "}),
    ]
    rows = {row.record: row for row in typed(spark, cases).collect()}
    login = hmac.new(KEY.links[0], b"c1", "sha256").hexdigest()
    of_visitors = visitor_key(KEY).links[0]
    first, second = (hmac.new(of_visitors, name, "sha256").hexdigest() for name in (b"c1", b"c2"))
    assert {case: (row.customer_id, row.visitor_id) for case, row in rows.items()} == {
        "login": (login, None),
        "login on a device": (login, first),
        "device": (first, first),
        "another device": (second, second),
    }
    # The visitor id is no part of it, so that an event sent again with its device is a duplicate.
    assert rows["login"].event_id == rows["login on a device"].event_id == "763392d39b9904a552e4ab74b89f0b3b"
    assert len({row.event_id for row in rows.values()}) == 3


def test_records_without_known_at_get_it_by_the_settings(spark):
    cases = [("without", {}), ("with", {"known_at": "2024-02-29T13:00:00Z"})]
    for known_at, expected in (("occurred", "2024-02-29 12:00:00"), ("arrived", "2024-03-01 00:00:00")):
        rows = typed(spark, cases, known_at=known_at).select("record", F.col("known_at").cast("string")).collect()
        assert dict(map(tuple, rows)) == {"without": expected, "with": "2024-02-29 13:00:00"}
