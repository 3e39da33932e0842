"""How a shop writes nothing, numbers and ids, to the one spelling that `events/ingest/parse.py` reads."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pyspark.sql import Column
from pyspark.sql import functions as F

from clm_spark.settings import Section

NULL_WORDS = ("", "null", "NULL", "\\N", "None", "nan", "NaN", "N/A")
NUMBER_FIELDS = ("quantity", "price", "amount", "discount", "tax", "shipping")
ID_FIELDS = ("customer_id", "visitor_id", "item_id", "order_id", "campaign_id", "source_session_id")
PLAIN_NUMBER = r"^[+-]?\d+(?:\.\d+)?$"
# 1.299 is thirteen hundred in one country and one and a bit in another; 0.299 and 12.99 are the same in all.
AMBIGUOUS = r"^([+-]?[1-9]\d{0,2}(?:\.\d{3})+)$"
PLAIN_AND_SURE = rf"(?!{AMBIGUOUS}){PLAIN_NUMBER}"
# A sign between groups of three digits, of a number that has nothing but such groups before its decimal sign.
GROUPED = r"(?<=^[+-]?\d{{1,3}}(?:{sign}\d{{3}}){{0,6}}){sign}(?=\d{{3}}(?:{sign}\d{{3}})*(?:{point}\d*)?$)"
ID_AS_NUMBER = r"^(?:0|[1-9]\d*)\.0+$"
ID_WITH_EXPONENT = r"^[1-9]\.\d+[eE]\+?\d{1,2}$"  # 1E5 may be a name
SPACES = r"[\s\p{Z}'\u2019]"
CURRENCY = r"^([+-]?)(?:\p{Sc}|\p{Lu}{1,2}\p{Sc}|\p{Lu}{3})|(?:\p{Sc}|\p{Lu}{3}|\p{Lu}{1,2}\p{Sc})$"


def _is_sign(sign: str) -> str:
    if sign not in (".", ",", "'", " "):
        raise ValueError("expected a point, a comma, an apostrophe or a blank, in quotes")
    return sign


DecimalSign = Annotated[str, AfterValidator(_is_sign)]


class Format(Section):
    """How one column is written, where it differs from the rest of the log."""

    decimal: DecimalSign | None = None
    thousands: DecimalSign | None = None
    null_words: tuple[str, ...] | None = None


def without_null_words(text: Column, words: tuple[str, ...]) -> Column:
    """The text without blanks around it; null where it is one of the words."""
    trimmed = F.trim(text)
    return F.when(~trimmed.isin(*words), trimmed)


def number_text(text: Column, *, decimal: str | None, thousands: str | None, is_sure: bool = False) -> Column:
    """A number as Spark reads it: with a decimal point, a minus in front, no currency and nothing between the digits.

    Where neither sign is declared, a number that may mean two figures (1.299) stays as it is with `?` behind, so that
    it is none, unless `is_sure`: the log has a type for numbers. What is no number stays as it is.
    """
    # A chain, in which each step reads the one before once: the plan would grow by every further reading.
    bare = F.regexp_replace(text, SPACES, "")
    bare = F.regexp_replace(F.translate(bare, "\u2212\u2013", "--"), CURRENCY, "$1")
    bare = F.regexp_replace(F.regexp_replace(bare, r"^\((.+)\)$", "-$1"), r"^([^-].*)-$", "-$1")
    bare = F.regexp_replace(bare, CURRENCY, "$1")  # of -€5 and (5 EUR)
    if thousands and thousands not in " '":
        point, sign = re.escape(decimal or ("," if thousands == "." else ".")), re.escape(thousands)
        bare = F.regexp_replace(bare, GROUPED.format(sign=sign, point=point), "")
    is_plain = text.rlike(PLAIN_NUMBER)
    if decimal == "," or (decimal is None and thousands == "."):
        # A point that is left is no decimal sign here.
        bare = F.translate(F.regexp_replace(bare, r"^(.*\..*)$", "$1?"), ",", ".")
        is_plain = text.rlike(r"^[+-]?\d+$")
    elif decimal is None and thousands is None and not is_sure:
        bare = F.regexp_replace(bare, AMBIGUOUS, "$1?")
        is_plain = text.rlike(PLAIN_AND_SURE)
    return F.when(is_plain, text).otherwise(bare)


def id_text(text: Column) -> Column:
    """An id that a spreadsheet or a data frame turned into a number, as it was: 17850.0 is 17850, and 00123 stays."""
    is_scientific = text.rlike(ID_WITH_EXPONENT)
    number = text.try_cast("decimal(38,6)")
    whole = F.when(number == F.floor(number), F.floor(number).cast("string"))
    return (
        F.when(~F.contains(text, F.lit(".")), text)  # nearly all: patterns cost more
        .when(text.rlike(ID_AS_NUMBER), F.regexp_replace(text, r"\.0+$", ""))
        .when(is_scientific, F.coalesce(whole, text))
        .otherwise(text)
    )
