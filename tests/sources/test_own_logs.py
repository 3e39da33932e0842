"""Logs as shops really have them, each read by a mapping: what comes of them in full."""

import json

import pytest
import yaml
from ingesting import Ingested, ingest

from clm_spark.errors import SettingsError, SourceError
from clm_spark.settings import IngestSettings
from clm_spark.sources import open_source

ORDER = {"occurred_at": "when", "customer_id": "who", "item_id": "sku", "quantity": "qty", "price": "price"}
OF_ORDERS = {"format": "csv", "header": "when,who,sku,qty,price", "kind": "purchase", "fields": ORDER}
DAY = "2024-01-10 10:00:00"


def read(
    spark, tmp_path, files: dict[str, list[str]] | list[str], *, keeps_guests: bool = False, **keys: object
) -> Ingested:
    """The log, of one file or several, as the mapping reads it; every record is accounted for."""
    named = files if isinstance(files, dict) else {"log": files}
    folder = tmp_path / "log"
    folder.mkdir(exist_ok=True)
    mapping = OF_ORDERS | keys
    for name, lines in named.items():
        (folder / f"{name}.{mapping['format']}").write_text("\n".join(lines) + "\n")
    (tmp_path / "shop.yml").write_text(
        yaml.safe_dump({key: value for key, value in mapping.items() if value is not None})
    )
    source = open_source(IngestSettings(source="mapping", path="unused", mapping=str(tmp_path / "shop.yml")))
    ingested = ingest(spark, source, folder, keeps_guests=keeps_guests)
    assert ingested.is_whole
    return ingested


def kept(ingested: Ingested, *columns: str) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in ingested.kept.select(*columns).collect())


def test_a_sign_or_a_number_says_that_a_line_is_a_return(spark, tmp_path):
    lines = [
        "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID",
        "700000,S0,3,1/1/2024 8:00,2.50,17850.0",
        "C70001,S0,-3,1/2/2024 8:01,2.50,17850",
        "700002,S1,-1,1/3/2024 8:02,2.50,00123",
        "C70003,S1,2,1/4/2024 8:02,-2.50,00123",
        "700004,S1,many,1/4/2024 8:02,2.50,00123",
    ]
    fields = {
        "occurred_at": "InvoiceDate",
        "customer_id": "CustomerID",
        "item_id": "StockCode",
        "quantity": "Quantity",
        "price": "UnitPrice",
        "order_id": "InvoiceNo",
    }
    keys = {"header": lines[0], "time_format": "M/d/yyyy H:mm", "fields": fields}
    kind = "case when Quantity < 0 or InvoiceNo like 'C%' then 'refund' else 'purchase' end"
    ingested = read(spark, tmp_path, lines, **keys, kind=kind)
    assert kept(ingested, "order_id", "kind", "quantity", "amount_cents") == [
        ("700000", "purchase", 3, 750),
        ("700002", "refund", 1, 250),
        ("C70001", "refund", 3, 750),
        ("C70003", "refund", 2, 500),
    ]
    assert ingested.kept.select("customer_id").distinct().count() == 2
    assert ingested.reasons == {"bad_number": 1}
    assert read(spark, tmp_path, lines, **keys, kind="purchase").reasons == {"negative_quantity": 3, "bad_number": 1}


def test_words_for_nothing_and_ids_that_became_numbers(spark, tmp_path):
    lines = [
        "when,who,sku,qty,price",
        f"{DAY},17850.0,a,1,5.00",
        f"{DAY},17850,b,NULL,5.00",
        *(f"{DAY},{nothing},a,1,5.00" for nothing in ("null", "NULL", "\\N", "None", "nan", "NaN", "N/A", "")),
        f"{DAY},-,a,1,5.00",
    ]
    ingested = read(spark, tmp_path, lines, formats={"who": {"null_words": ["-", "null", "NULL", "", "\\N", "N/A"]}})
    assert ingested.reasons == {"missing_customer": 6}
    assert ingested.kept.where("item_id IN ('a', 'b') AND quantity = 1").count() == 5
    assert ingested.kept.select("customer_id").distinct().count() == 4  # None, nan and NaN are people here
    assert read(spark, tmp_path, lines).reasons == {"missing_customer": 8}


def test_decimal_commas_are_declared_or_refused(spark, tmp_path):
    lines = [
        "when;who;sku;qty;price",
        f"{DAY};u;a;1;5,00",
        f"{DAY};u;b;1;1.299,00",
        f"{DAY};u;c;1;€ 49,90",
        f"{DAY};u;d;1;899",
    ]
    keys = {"separator": ";", "header": lines[0]}
    ingested = read(spark, tmp_path, lines, **keys, decimal=",", thousands=".")
    assert kept(ingested, "item_id", "price_cents") == [("a", 500), ("b", 129_900), ("c", 4_990), ("d", 89_900)]
    assert read(spark, tmp_path, lines, **keys).reasons == {"bad_number": 3}
    # Whole euros with points for thousands must not be read as one euro and thirty cents.
    euros = ["when;who;sku;qty;price", f"{DAY};u;a;1;1.299", f"{DAY};u;b;1;12.499"]
    assert read(spark, tmp_path, euros, **keys).reasons == {"bad_number": 2}
    assert kept(read(spark, tmp_path, euros, **keys, thousands="."), "price_cents") == [(129_900,), (1_249_900,)]


def test_columns_of_one_name_and_lines_that_end_in_a_separator(spark, tmp_path):
    lines = ["ID,Date,Action,SKU,id,SKU", f"1,{DAY},Purchase ,a,u1,x", f"2,{DAY}, PURCHASE,b,u2,y"]
    fields = {"occurred_at": "Date", "customer_id": "id", "kind": "Action", "item_id": "SKU_2", "order_id": "ID"}
    fields["amount"] = "ID"
    ingested = read(spark, tmp_path, lines, header=lines[0], fields=fields, kind=None)
    assert kept(ingested, "order_id", "item_id", "kind") == [("1", "x", "purchase"), ("2", "y", "purchase")]
    ended = ["when,who,sku,qty,price", f"{DAY},u1,a,1,5.00,", f'{DAY},u2,"b,c",1,5.00', f"{DAY},u3,d,1,5.00,,"]
    ingested = read(spark, tmp_path, ended)
    assert (kept(ingested, "item_id"), ingested.reasons) == ([("a",), ("b,c",)], {"unparsable": 1})
    twins = [
        json.dumps({"userId": "u1", "userid": "x", "ts": DAY, "user.name": "n", "price": "1.30"}),
        json.dumps({"userId": "u2", "ts": DAY, "user": {"name": "m"}, "price": 1.299}),
        json.dumps({"userId": "u3", "ts": DAY, "price": "1.299"}),  # of two meanings, as a number is not
    ]
    keys = {"format": "jsonl", "header": None, "kind": "search", "attributes": {"other": "userid", "name": "user.name"}}
    fields = {"occurred_at": "ts", "customer_id": "userId", "price": "price"}
    ingested = read(spark, tmp_path, {"twins": twins}, **keys, fields=fields)
    came = ingested.kept.select("attributes", "price_cents").collect()
    assert ([row.price_cents for row in came], ingested.reasons) == ([130, 130], {"bad_number": 1})
    assert sorted(sorted(row.attributes.items()) for row in came) == [[("name", "m")], [("name", "n"), ("other", "x")]]


def test_a_renamed_column_is_read_under_both_names_or_named(spark, tmp_path):
    old = ["when,who,sku,price", "2024-01-10 10:00:00,u1,a,5.00", "2024-01-11 10:00:00,u2,a,5.00"]
    new = ["when,who,sku,unit_price", "2024-02-10 10:00:00,u1,a,7.00", "2024-02-11 10:00:00,u2,a,7.00"]
    files = {"1": old, "2": new}
    fields = {"occurred_at": "when", "customer_id": "who", "item_id": "sku", "price": "price"}
    keys = {"header": old[0], "fields": fields}
    with pytest.raises(
        SourceError, match=r"price missing.*if unit_price is price by a new name, write \[price, unit_price\]"
    ):
        read(spark, tmp_path, files, **keys)
    with pytest.raises(SourceError, match=r"has no column price, and unit_price is new.*write \[price, unit_price\]"):
        read(spark, tmp_path, files, **keys, optional=["price"])
    ingested = read(spark, tmp_path, files, **keys | {"fields": fields | {"price": ["price", "unit_price"]}})
    assert (ingested.num_kept, sum(row[0] for row in kept(ingested, "amount_cents"))) == (4, 2_400)


def test_a_second_export_with_a_column_more_brings_only_what_is_new(spark, tmp_path):
    header, rows = "when,who,sku,price", [f"2024-01-0{n} 10:00:00,u{n},a,5.00" for n in range(1, 5)]
    wider = [f"{header},channel", *(f"{row},web" for row in rows[1:]), "2024-01-09 10:00:00,u3,a,5.00,app"]
    fields = {"occurred_at": "when", "customer_id": "who", "item_id": "sku", "price": "price"}
    ingested = read(spark, tmp_path, {"1": [header, *rows], "2": wider}, header=header, fields=fields)
    assert (ingested.num_read, ingested.num_kept, ingested.num_duplicates) == (8, 5, 3)


def test_identical_lines_of_one_file_are_as_many_events_and_of_two_files_the_same(spark, tmp_path):
    header, line = "when,who,what,sku,price", f"{DAY},u1,purchase,a,5.00"
    view = f"{DAY},u1,view,a,5.00"
    fields = {"occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku", "price": "price"}
    keys = {"header": header, "fields": fields, "kind": None}
    files = {"1": [header, line, view, line, view], "2": [header, line, line, line]}
    expected = {"lines": (3, 1), "one": (1, 1), "each": (3, 2)}
    for rule, numbers in expected.items():
        ingested = read(spark, tmp_path, files, **keys, identical_records=rule)
        came = [ingested.kept.where(f"kind = '{kind}'").count() for kind in ("purchase", "view")]
        assert (rule, tuple(came)) == (rule, numbers)
        assert ingested.kept.select("event_id").distinct().count() == sum(numbers)


def test_any_encoding_is_read_and_a_wrong_one_is_named(spark, tmp_path):
    lines = ["时间,用户,行为,商品,类目", *(f"2024-01-10 10:00:0{n},用户{n},浏览,商品{n},女装" for n in range(3))]
    fields = {"occurred_at": "时间", "customer_id": "用户", "kind": "行为", "item_id": "商品", "category": "类目"}
    keys = {"format": "csv", "header": lines[0], "fields": fields, "kinds": {"浏览": "view"}}
    for encoding, newline in (("utf-8-sig", "\r\n"), ("gbk", "\n"), ("utf-16", "\r\n"), ("utf-16-be", "\n")):
        mark = "\ufeff" if encoding == "utf-16-be" else ""
        folder = tmp_path / encoding
        folder.mkdir()
        (folder / "log.csv").write_bytes((mark + newline.join(lines)).encode(encoding))

        def source(told: str):
            (tmp_path / "shop.yml").write_text(yaml.safe_dump(keys | {"encoding": told}, allow_unicode=True), "utf-8")
            return open_source(IngestSettings(source="mapping", mapping=str(tmp_path / "shop.yml")))

        ingested = ingest(spark, source("utf-16" if mark else encoding), folder)
        assert kept(ingested, "item_id", "category", "kind") == [(f"商品{n}", "女装", "view") for n in range(3)]
        if encoding != "utf-8-sig":
            with pytest.raises(SourceError, match="set `encoding"):
                ingest(spark, source("utf-8"), folder)


def test_an_order_that_a_page_sent_again_is_one(spark, tmp_path):
    header = "when,who,sku,qty,price,order,what"
    fields = ORDER | {"order_id": "order", "kind": "what"}
    lines = [
        header,
        "2024-01-10 10:00:00,u1,a,1,5.00,o1,purchase",
        "2024-01-10 10:00:01,u1,a,1.0,5.00,o1,purchase",
        "2024-01-10 18:00:00,u1,a,1,5,o1,purchase",
        "2024-01-10 10:00:00,u1,b,1,5.00,o1,purchase",  # another line of it
        "2024-01-10 10:00:01,u1,a,2,5.00,o1,purchase",  # two of them are no repetition of one
        "2024-01-11 10:00:01,u1,a,1,5.00,o1,purchase",  # receipts that are numbered anew every day
        *["2024-01-12 10:00:00,u1,a,1,5.00,o2,purchase"] * 2,  # two tickets
        *(f"2024-01-12 10:00:0{second},u1,a,1,5.00,,purchase" for second in (0, 1)),  # no order that would tell
        *(f"2024-01-12 11:00:0{second},u1,a,1,5.00,o2,refund" for second in (0, 1)),
    ]
    for identical, kept_of_them in (("lines", 10), ("each", 12)):
        ingested = read(spark, tmp_path, lines, header=header, fields=fields, kind=None, identical_records=identical)
        assert (ingested.num_read, ingested.num_kept) == (12, kept_of_them), identical


def test_an_expression_s_time_keeps_its_zone_and_a_quoted_name_its_dot(spark, tmp_path):
    header = "paid,made,who,sku,Avg. Price"
    fields = {
        "occurred_at": "greatest(timestamp(paid), timestamp(made))", "customer_id": "who", "item_id": "sku",
        "price": "`Avg. Price` * 2",
    }  # fmt: skip
    lines = [header, "2024-07-01T12:00:00Z,2024-07-01 10:00:00,u1,a,5.00", "2024-07-01 09:00:00,,u1,a,5.00"]
    ingested = read(spark, tmp_path, lines, header=header, fields=fields, time_zone="Europe/Vienna")
    told = ingested.typed.select("happened", "price_cents").collect()
    assert sorted(map(tuple, told)) == [
        ("2024-07-01 07:00:00", 1000),  # nine in Vienna
        ("2024-07-01 12:00:00", 1000),
    ]


def test_ignored_columns_and_the_customer_s_own_stay_in_bronze(spark, tmp_path):
    files = {
        "a": [OF_ORDERS["header"], f"{DAY},u1,a,1,5.00"],
        "b": ["when,who,sku,qty,price,phone", f"{DAY},u1,b,1,5.00,+43"],
    }
    assert read(spark, tmp_path, files, ignored=["phone"]).kept.where("attributes['phone'] IS NOT NULL").isEmpty()
    with pytest.raises(SettingsError, match=r"attributes.login is the customer's own column who"):
        read(spark, tmp_path, files, fields=ORDER | {"customer_id": "`who`"}, attributes={"login": "who"})


def test_the_record_s_own_id_decides(spark, tmp_path):
    header = "id,when,who,sku,price"
    fields = {"occurred_at": "when", "customer_id": "who", "item_id": "sku", "price": "price", "event_id": "id"}
    lines = [header, f"e1,{DAY},u1,a,5.00", f"e2,{DAY},u1,a,5.00", f"e1,{DAY},u1,a,5.00", f",{DAY},u1,a,5.00"]
    ingested = read(spark, tmp_path, lines, header=header, fields=fields)
    assert (ingested.num_read, ingested.num_kept, ingested.num_duplicates) == (4, 3, 1)


def test_orders_without_items_and_discounts_below_zero(spark, tmp_path):
    header = "order,who,when,what,sku,total,off"
    fields = {
        "occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku", "amount": "total",
        "discount": "off", "order_id": "order",
    }  # fmt: skip
    lines = [
        header,
        f"1,u1,{DAY},Sale,,20.50,",
        f"2,u1,{DAY},sale,a,4.50,-0.50",
        f"2,u1,{DAY},refunded,,-4.50,",
        f"3,u1,{DAY},sale,,,",
        f"4,u1,{DAY},view,,1,",
    ]
    kinds = {"sale": "purchase", "REFUNDED": "refund"}
    ingested = read(spark, tmp_path, lines, header=header, fields=fields, kind=None, kinds=kinds)
    assert kept(ingested, "kind", "amount_cents", "discount_cents") == [
        ("purchase", 450, 50),
        ("purchase", 2_050, None),
        ("refund", 450, None),
    ]
    assert ingested.reasons == {"missing_item": 2}


def test_what_is_filtered_out_is_counted_apart(spark, tmp_path):
    lines = [
        "when,who,sku,qty,price",
        f"{DAY},u1,a,1,5.00",
        f"{DAY},u1,test-1,1,5.00",
        f"{DAY},,test-2,1,5.00",
        f"{DAY},u1,,1,5.00",  # the filter cannot tell: no reason to lose the money
    ]
    ingested = read(spark, tmp_path, lines, filter="sku not like 'test%'")
    assert (kept(ingested, "amount_cents"), ingested.reasons) == ([(500,), (500,)], {"filtered": 2})


def test_money_that_cannot_be_computed_is_refused_and_not_lost(spark, tmp_path):
    lines = ["when,who,sku,qty,price", *(f"{DAY},u1,{n},{qty},5.00" for n, qty in enumerate(("2", "0", "x", "")))]
    fields = {name: ORDER[name] for name in ("occurred_at", "customer_id", "item_id")} | {"amount": "price / qty"}
    ingested = read(spark, tmp_path, lines, fields=fields)
    assert kept(ingested, "item_id", "amount_cents") == [("0", 250), ("3", None)]
    assert ingested.reasons == {"bad_number": 2}


def test_orders_of_guests_are_events_of_no_customer(spark, tmp_path):
    header = "when,who,what,sku,price,tax,postage"
    fields = {
        "occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku", "price": "price", "tax": "tax",
        "shipping": "postage",
    }  # fmt: skip
    lines = [
        header,
        f"{DAY},u1,purchase,a,5.00,0.80,3.90",
        f"{DAY},,purchase,a,5.00,,",
        f"{DAY},,refund,b,2.00,,",
        f"{DAY},,view,a,5.00,,",
    ]
    keys = {"header": header, "fields": fields, "kind": None}
    ingested = read(spark, tmp_path, lines, **keys, keeps_guests=True)
    guests = ingested.kept.where("customer_id IS NULL").select("kind", "amount_cents")
    assert sorted(map(tuple, guests.collect())) == [("purchase", 500), ("refund", 200)]
    assert ingested.reasons == {"missing_customer": 1}
    assert [tuple(row) for row in ingested.kept.where("tax_cents = 80").select("shipping_cents").collect()] == [(390,)]
    assert read(spark, tmp_path, lines, **keys).reasons == {"missing_customer": 3}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"kind": "case when qtty < 0 then 'refund' end"}, "qtty is no column of the log: it has when, who, sku"),
        ({"kind": "rand() < 0.5"}, "rand is not allowed"),
        ({"fields": ORDER | {"order_id": "concat(who, '-', sku)"}}, "reads the customer's own column who"),
        (
            {"fields": ORDER | {"customer_id": "lower(who)"}, "attributes": {"login": "who"}},
            "attributes.login reads the customer's own column who",
        ),
        ({"attributes": {"where": "lower(ip_address)"}, "header": "when,who,sku,qty,price,ip_address"}, "an address"),
        ({"fields": ORDER | {"quantity": "case when qty"}}, "fields.quantity: 'case when qty' is no SQL expression"),
    ],
    ids=["unknown column", "forbidden function", "raw id", "raw id by SQL", "address", "no SQL"],
)
def test_an_expression_is_checked_before_anything_is_read(spark, tmp_path, change, expected):
    with pytest.raises(SettingsError) as error:
        read(spark, tmp_path, ["when,who,sku,qty,price", f"{DAY},u,a,1,5.00"], **change)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
