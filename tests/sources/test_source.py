from pyspark.sql import functions as F

from clm_spark.sources.source import without_raw_id

CASES = [  # text, the raw customer id, what silver may hold of it
    ("ann@example.com", "17", "[e-mail]"),
    ("mail ann.lee+x@mail.example.co.uk, please", "17", "mail [e-mail], please"),
    ("<客户@例子.公司>", "17", "<[e-mail]>"),
    ("a@b", "17", "a@b"),
    ("2 @ 3.50", "17", "2 @ 3.50"),
    ("u-17", "u-17", "[customer]"),
    ("u-17", "u-18", "u-17"),
    ("17", "17", "17"),  # as well an item's number
    ("", "u-17", ""),
    (None, "u-17", None),
    ("phone", None, "phone"),
    ("x" * 1_000_000 + "@", "17", "x" * 1_000_000 + "@"),  # in no time
]


def test_text_loses_addresses_and_raw_ids(spark):
    rows = spark.createDataFrame(CASES, "text string, customer string, expected string")
    came = rows.withColumn("came", without_raw_id(F.col("text"), F.col("customer")))
    assert [row.text for row in came.where("NOT (came <=> expected)").collect()] == []
