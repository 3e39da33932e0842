"""How shops write numbers, ids and nothing."""

import pytest
from pydantic import ValidationError
from pyspark.sql import functions as F

from clm_spark.sources.formats import NULL_WORDS, Format, id_text, number_text, without_null_words

NUMBERS = [  # as written, decimal sign, sign of thousands, as a number
    ("12", None, None, "12"),
    ("-12.50", None, None, "-12.50"),
    ("+1", None, None, "+1"),
    ("0.125", None, None, "0.125"),
    ("0.299", None, None, "0.299"),
    ("1.299", None, None, None),  # of thirteen hundred or of one and a bit
    ("1.299.000", None, None, None),
    ("1,299.00", None, None, None),
    ("5,00", None, None, None),
    ("1.5E3", None, None, "1.5E3"),
    ("€ 12.50", None, None, "12.50"),
    ("12.50 EUR", None, None, "12.50"),
    ("US$12.50", None, None, "12.50"),
    ("-$12.50", None, None, "-12.50"),
    ("$-12.50", None, None, "-12.50"),
    ("(12.50)", None, None, "-12.50"),
    ("12.50-", None, None, "-12.50"),
    ("\u221212.50", None, None, "-12.50"),
    ("1\u00a0299.00", None, None, "1299.00"),
    ("1'299.00", None, None, "1299.00"),
    ("1.299", ".", None, "1.299"),
    ("1,299.00", ".", ",", "1299.00"),
    ("1,299,000", ".", ",", "1299000"),
    ("12,99", ".", ",", None),  # no group of three
    ("5,00", ",", None, "5.00"),
    ("-5,00 €", ",", None, "-5.00"),
    ("12", ",", None, "12"),
    ("5.00", ",", None, None),  # a point where commas are declared
    ("1.299,00", ",", ".", "1299.00"),
    ("1.299", ",", ".", "1299"),
    ("12.499.000,5", ",", ".", "12499000.5"),
    ("1.299", None, ".", "1299"),
    ("1.299,50", None, ".", "1299.50"),
    ("1,299", None, ",", "1299"),
    ("abc", None, None, None),
    ("", None, None, None),
    (None, None, None, None),
]
IDS = [
    ("17850.0", "17850"),
    ("17850.00", "17850"),
    ("0.0", "0"),
    ("00123", "00123"),
    ("00123.0", "00123.0"),
    ("1.7", "1.7"),
    ("v1.0", "v1.0"),
    ("1.785E4", "17850"),
    ("9.615649975234172E15", "9615649975234172"),
    ("1e2", "1e2"),
    ("1.5E0", "1.5E0"),
    ("5e1f", "5e1f"),
    (None, None),
]


def test_numbers_as_shops_write_them(spark):
    rows = spark.createDataFrame(
        [(n, *row[:3]) for n, row in enumerate(NUMBERS)], "n int, text string, d string, t string"
    )
    read = F.lit(None).cast("string")
    for decimal, thousands in {row[1:3] for row in NUMBERS}:
        number = number_text(F.col("text"), decimal=decimal, thousands=thousands)
        read = F.when(F.col("d").eqNullSafe(decimal) & F.col("t").eqNullSafe(thousands), number).otherwise(read)
    came = rows.select("n", read.alias("read"), read.try_cast("decimal(18,6)").isNotNull().alias("is_number"))
    by_row = {row.n: row.read if row.is_number else None for row in came.collect()}
    assert [(*row[:3], by_row[n]) for n, row in enumerate(NUMBERS)] == NUMBERS


def test_a_typed_number_is_never_of_two_meanings(spark):
    rows = spark.createDataFrame([("1.299",)], "text string")
    assert rows.select(number_text(F.col("text"), decimal=None, thousands=None, is_sure=True)).head()[0] == "1.299"


def test_ids_that_became_numbers(spark):
    rows = spark.createDataFrame([(n, text) for n, (text, _) in enumerate(IDS)], "n int, text string")
    read = {row.n: row.id for row in rows.select("n", id_text(F.col("text")).alias("id")).collect()}
    assert [(text, read[n]) for n, (text, _) in enumerate(IDS)] == IDS


def test_words_for_nothing(spark):
    words = [*NULL_WORDS, " null ", "  "]
    kept = ["0", "Null Island", "none at all", "-"]
    rows = spark.createDataFrame([(text,) for text in [*words, *kept]], "text string")
    read = [row[0] for row in rows.select(without_null_words(F.col("text"), NULL_WORDS)).collect()]
    assert read == [None] * len(words) + kept


def test_a_sign_is_one_of_those_that_shops_use():
    with pytest.raises(ValidationError, match="expected a point, a comma, an apostrophe or a blank"):
        Format(decimal=";")
