"""What a draft says of a sample, and what it asks."""

from clm_spark.inspection.draft import draft_of
from clm_spark.inspection.sample import Sample

DAYS = ("2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z", "2024-01-03T10:00:00Z", "2024-01-04T10:00:00Z")
BUYERS = {"when": DAYS, "who": ("u1", "u2", "u1", "u2")}


def sample(columns, format_="csv", **more) -> Sample:
    records = tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    header = ",".join(columns) if format_ == "csv" else None
    return Sample(format_, ("log",), 1, tuple(columns), records, header=header, **more)


def test_what_cannot_be_told_is_asked():
    draft = draft_of(sample({"a": ("x", "y"), "b": ("1", "2")}))
    assert draft.open_questions == [
        "no column was found to be a time or the customer (a, b): write fields.occurred_at and time_format, and "
        "fields.customer_id or fields.visitor_id"
    ]
    assert not draft.is_readable
    (question,) = draft_of(sample({"date": DAYS, "sessionid": ("1", "1", "2", "2")})).open_questions
    assert question.endswith("fields.visitor_id; sessionid may stand for the visitor where the log knows no more")
    (question,) = draft_of(sample({"date": ("1/2/2024", "2/3/2024"), "user": ("u", "v")})).open_questions
    assert question.startswith("date may be d/M/yyyy or M/d/yyyy (1/2/2024)")


def test_only_what_json_has_no_type_for_is_ambiguous():
    ambiguous = BUYERS | {"amount": ("1.299", "2.499", "7.000", "5.100")}
    asked = [
        len(draft_of(sample(ambiguous, "jsonl", number_columns=numbers)).open_questions)
        for numbers in (frozenset(), frozenset(["amount"]))
    ]
    assert asked == [1, 0]
    draft = draft_of(sample(BUYERS | {"amount": ("1.299,00", "5,00", "7,00", "5,10")}, "jsonl"))
    assert (draft.keys["decimal"], draft.keys["thousands"], draft.open_questions) == (",", ".", [])


def test_a_column_with_signs_of_its_own_has_a_format_of_its_own():
    columns = BUYERS | {
        "amount": ("5,00", "1.299,00", "7,50", "5,10"),
        "quantity": ("1.0", "2.0", "1.0", "2.0"),  # a data frame's
        "price": ("1.299", "2.499", "7.000", "5.100"),  # as the amount is written
        "discount": ("1", "2", "1", "2"),
    }
    keys = draft_of(sample(columns)).keys
    assert (keys["decimal"], keys["thousands"], keys["formats"]) == (",", ".", {"quantity": {"decimal": "."}})


def test_guests_are_counted_also_where_a_word_stands_for_them():
    draft = draft_of(sample({"when": DAYS, "who": ("guest", "u1", "", "u1"), "amount": ("1", "2", "3", "4")}))
    assert draft.keys["formats"]["who"]["null_words"][-1] == "guest"
    assert draft.notes == [
        "2 of 4 records name no customer: they are rejected as missing_customer, unless ingest.guests is kept"
    ]
    (question,) = draft.open_questions
    assert "the 50% of the records" in question
    assert "--set ingest.guests=kept" in question
    assert "--set ingest.max_rejected_share=0.75" in question


def test_who_has_a_visitor_or_a_login_is_no_guest():
    draft = draft_of(sample({"when": DAYS, "user": ("a", "", "b", ""), "visitor": ("1", "2", "1", "")}))
    assert draft.notes == [
        "1 of 4 records name no customer: they are rejected as missing_customer, unless ingest.guests is kept"
    ]


def test_below_zero_is_a_return_by_whichever_figure():
    columns = BUYERS | {"order.qty": ("1", "-1", "2", "1"), "price": ("5.00", "5.00", "(3.00)", "5.00")}
    keys = draft_of(sample(columns)).keys
    assert keys["kind"] == "case when `order`.`qty` < 0 or price < 0 then 'refund' else 'purchase' end"
    by_words = draft_of(sample(BUYERS | {"what": ("kauf", "Kauf", "storno", "kauf"), "amount": ("1", "-2", "-3", "4")}))
    assert by_words.keys["kinds"] == {"kauf": "purchase", "Kauf": "purchase", "storno": "refund"}
    assert by_words.kinds == {"kauf": 2, "Kauf": 1, "storno": 1}
    (question,) = by_words.open_questions
    assert question.startswith("1 records are below zero in amount, and what does not call them returns")


def test_what_is_not_named_is_a_purchase_where_something_is_sold():
    drafts = [
        draft_of(sample(BUYERS | more))
        for more in ({}, {"price": ("1", "2", "3", "4")}, {"amount": ("1", "2", "3", "4")})
    ]
    assert [draft.keys["kind"] for draft in drafts] == ["view", "purchase", "purchase"]
    assert [draft.open_questions for draft in drafts] == [
        [],
        ["whether a record is a purchase, as it has price: if not, write kind: view"],
        [],
    ]


def test_who_somebody_is_stays_out_of_attributes_and_comments():
    columns = BUYERS | {
        "login": ("u1", "u2", "u1", "u2"),  # as good a name for the customer
        "first_name": ("Ann", "Ben", "Ann", "Ben"),
        "kontakt": ("a@b.de", "c@d.de", "a@b.de", "c@d.de"),
        "same": ("u1", "u2", "u1", "u2"),
        "category": ("shoes", "x@y.de", "hats", "hats"),
        "order_id": ("o1", "o2", "o3", "o4"),
        "product_name": ("Shoe", "Hat", "Shoe", "Hat"),
        "sku": ("s1", "s2", "s1", "s2"),
        "colour": ("red", "blue", "red", "blue"),
    }
    draft = draft_of(sample(columns))
    assert draft.keys["ignored"] == ["login", "first_name", "kontakt", "same"]
    assert draft.keys["attributes"] == {"product_name": "product_name", "colour": "colour"}
    assert {name: draft.reasons[name] for name in ("customer_id", "order_id", "category", "item_id")} == {
        "customer_id": "by its name",
        "order_id": "by its name",
        "category": "by its name; shoes, hats",
        "item_id": "by its name; s1, s2",
    }


def test_an_object_of_which_nothing_is_used_is_left_out_whole():
    columns = {
        "at": DAYS,
        "user.id": ("a", "b", "a", "b"),
        "user.email": ("a@b.de",) * 4,
        "contact.phone": ("1", "2", "1", "2"),
        "time": DAYS,
    }
    draft = draft_of(sample(columns, "jsonl"))
    assert draft.keys["ignored"] == ["user.email", "contact.phone", "contact"]


def test_attributes_never_share_a_name():
    columns = BUYERS | dict.fromkeys(("Size", "size", "size (EU)", "(!)"), ("x", "y", "z", "x"))
    assert draft_of(sample(columns)).keys["attributes"] == {
        "size": "Size",
        "size_2": "size",
        "size_eu": "size (EU)",
        "column": "(!)",
    }


def test_names_that_look_like_sql_stand_in_backticks_where_no_header_tells():
    columns = BUYERS | {"price (EUR)": ("1", "2", "3", "4"), "a.b/c": ("x", "y", "z", "x")}
    written = {"price": "`price (EUR)` + 0", "a_b_c": "`a`.`b/c`"}
    for format_, price, other in (("jsonl", *written.values()), ("csv", "price (EUR)", "a.b/c")):
        draft = draft_of(sample(columns, format_))
        assert (draft.fields["price"], draft.keys["attributes"]) == (price, {"a_b_c": other})


def test_columns_of_other_files_are_other_names_or_optional_or_missing():
    columns = BUYERS | {"price": ("1", "2", "3", "4"), "qty": ("1", "2", "3", "4"), "shop": ("a", "b", "a", "b")}
    others = {"other_columns": (("when", "who", "unit price", "pieces"),)}
    both = columns | {"unit price": ("1", "2", "3", "4"), "pieces": ("1", "2", "3", "4")}
    for draft in (
        draft_of(sample(columns, **others)),
        draft_of(sample(both, "parquet", first_columns=tuple(columns), **others)),
    ):
        assert draft.fields["price"] == ["price", "unit price"]
        assert draft.notes == ["unit price of some files seems to be price by another name"]
        assert draft.keys["optional"] == ["shop"]
        assert draft.open_questions == ["qty is missing in some files: a run refuses these"]


def test_the_total_of_an_order_is_not_taken_for_that_of_a_line_without_a_question():
    lines = {"order_id": ("o1", "o1", "o1", "o2"), "sku": ("a", "b", "c", "a"), "unit_price": ("5", "10", "15", "5")}
    (question,) = draft_of(sample(BUYERS | lines | {"order_total": ("30", "30", "30", "5")})).open_questions
    assert question.startswith(
        "whether order_total is what a line cost, or the total of its order: the 3 lines of order o1"
    )
    assert question.endswith("take amount out of fields, and unit_price times the quantity counts")
    assert not draft_of(sample(BUYERS | lines | {"order_total": ("5", "10", "15", "5")})).open_questions
    twice = {"order_id": ("o1", "o1", "o2", "o2"), "sku": ("a", "a", "b", "b"), "amount": ("5", "5", "7", "7")}
    assert not draft_of(sample(BUYERS | twice)).open_questions, "the same line twice costs the same"


def test_a_status_that_tells_of_returns_is_asked_about():
    orders = {"amount": ("1", "2", "3", "4"), "status": ("paid", "cancelled", "refunded", "pending")}
    draft = draft_of(sample(BUYERS | orders))
    assert draft.keys["kind"] == "purchase"
    (question,) = draft.open_questions
    assert question.startswith(
        "what status says of a record, which counts as a purchase whatever stands there: paid (1), "
    )
    assert not draft_of(sample(BUYERS | orders | {"status": ("paid", "paid", "pending", "paid")})).open_questions


def test_who_somebody_is_stays_out_in_other_languages():
    personal = (
        "telefon",
        "strasse",
        "straße",
        "adresse",
        "geburtsdatum",
        "plz",
        "姓名",
        "手机",
        "postcode",
        "dob",
        "zip_code",
    )
    columns = dict.fromkeys((*personal, "farbe"), ("a", "b", "c", "d"))
    keys = draft_of(sample(BUYERS | {"amount": ("1", "2", "3", "4")} | columns)).keys
    assert {*keys["ignored"]} == {*personal}
    assert keys["attributes"] == {"farbe": "farbe"}
