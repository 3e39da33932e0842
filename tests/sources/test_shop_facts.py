import pytest

from clm_spark.errors import SourceError
from clm_spark.sources.shop_facts import contact_permissions, item_facts

ITEMS = """\ufeffitem_id,Num_In_Stock, brand ,is_excluded,is_sponsored,colour
1,12,Acme,false,YES,red
2, 0.9 ,,1,,blue
 3 ,,Acme
"""


def written(folder, text, name="facts.csv"):
    file = folder / name
    file.write_text(text)
    return str(file)


def test_items_are_read_as_the_shop_writes_them(spark, tmp_path, caplog):
    rows = sorted(map(tuple, item_facts(spark, written(tmp_path, ITEMS)).collect()))
    expected = [("1", 12, "Acme", False, True), ("2", 0, None, True, False), ("3", None, "Acme", False, False)]
    assert rows == expected
    assert [record.getMessage().split(": ", 1)[1].split(";")[0] for record in caplog.records] == [
        "columns that nothing reads: colour"
    ]
    spark.createDataFrame([(1, 12), (2, None)], "item_id bigint, num_in_stock int").write.parquet(
        f"{tmp_path}/a.parquet"
    )
    rows = sorted(map(tuple, item_facts(spark, f"{tmp_path}/a.parquet").collect()))
    assert rows == [("1", 12, None, False, False), ("2", None, None, False, False)]


def test_permissions_are_read(spark, tmp_path):
    text = "customer_id,channel,is_allowed\nanna,email,yes\nanna,sms,0\nbo,eMail,TRUE\n"
    rows = sorted(map(tuple, contact_permissions(spark, written(tmp_path, text)).collect()))
    assert rows == [("anna", "email", True), ("anna", "sms", False), ("bo", "email", True)]


@pytest.mark.parametrize(
    ("read", "text", "message", "example"),
    [
        (item_facts, "item_id,num_in_stock\n", "has no row: expected one per item", ""),
        (item_facts, "item_id,stock\n1,2\n", "tells nothing of item_id: expected one of the columns num_in_stock", ""),
        (item_facts, "item,stock\n1,2\n", "lacks item_id: expected columns item_id, num_in_stock", ""),
        (item_facts, "item_id,num_in_stock\n1,2\n7,many\n", "expected num_in_stock to be a number or empty", "'7'"),
        (item_facts, "item_id,is_excluded\n1,perhaps\n", "expected is_excluded and is_sponsored to be true", "perhaps"),
        (item_facts, "item_id,brand\n1,a\n,b\n", "expected item_id in every row", "'b'"),
        (item_facts, "item_id,brand\n1,a\n1,b\n", "expected one row per item_id, came 2 for one", "'1'"),
        (contact_permissions, "customer_id,channel\na,email\n", "lacks is_allowed", ""),
        (contact_permissions, "customer_id,channel,is_allowed\na,email,\n", "expected is_allowed to be true or false", "'a'"),
        (contact_permissions, "customer_id,channel,is_allowed\na,sms,1\na,SMS,0\n", "expected one row per customer_id and", "sms"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_an_example(read, text, message, example, spark, tmp_path):
    with pytest.raises(SourceError, match=message) as refused:
        read(spark, written(tmp_path, text))
    assert example in refused.value.example


def test_a_file_that_is_missing_is_named(spark, tmp_path):
    with pytest.raises(SourceError, match=r"nowhere\.csv is missing: expected a CSV file with a header"):
        item_facts(spark, f"{tmp_path}/nowhere.csv")


def test_a_file_of_another_format_is_refused_in_a_line(spark, tmp_path):
    with pytest.raises(SourceError, match=r"items\.parquet cannot be read: [^\n]*; expected a CSV file with a header"):
        item_facts(spark, written(tmp_path, ITEMS, name="items.parquet"))
