"""Keyed pseudonyms: below bronze no raw customer id appears."""

import hmac
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.keys import KeyChain, hmac_sha256
from clm_spark.tables.contract import Rekeyed, Table

GUEST = ""  # in place of a customer's id where it is a part of a key
EVENT_ID_DIGITS = 32
MOST_DIGITS = 20


def pseudonym(text: Column, *, key: KeyChain) -> Column:
    """HMAC-SHA256 of the text by the first key, then of the digest by each further key; hexadecimal, null stays null."""
    return _hashed_on(text, "pseudonym", key.links)


def pseudonym_of(text: str, *, key: KeyChain) -> str:
    """As `pseudonym`, of one text, without Spark."""
    for link in key.links:
        text = hmac.new(link, text.encode(), "sha256").hexdigest()
    return text


def rekeyed(rows: DataFrame, table: Table, *, links: Sequence[bytes]) -> DataFrame:
    """Hash the table's pseudonyms once more by each of `links`, which gives those of the longer key chain.

    Event ids are re-keyed, too: they are made of the customer's pseudonym, and would reveal it to a holder of the old
    key.
    """
    named = [column for column in table.columns if column.rekeyed in ("pseudonym", "event_id")]
    if not links or not named:
        return rows
    hashed = rows.withColumns(
        {
            column.name: F.when(F.col(column.name) == GUEST, GUEST).otherwise(
                _hashed_on(F.col(column.name), column.rekeyed, links)
            )
            for column in named
            if column.rekeyed
        }
    )
    visits = [column.name for column in table.columns if column.rekeyed == "visit_id"]
    return hashed.withColumns({name: visit_id(F.col("customer_id"), F.col("started_at")) for name in visits})


def visit_id(customer_id: Column, started_at: Column) -> Column:
    """The id of a visit from its customer and start, not a counter: a late event must not renumber later visits."""
    return F.md5(F.concat_ws("|", customer_id, F.unix_micros(started_at).cast("string")))


def visitor_key(key: KeyChain) -> KeyChain:
    """The key for devices and cookies: visitor 17 and login 17 must not get the same pseudonym."""
    return KeyChain((hmac.new(key.links[0], b"visitor", "sha256").digest(), *key.links[1:]))


def _hashed_on(name: Column, kind: Rekeyed, links: Sequence[bytes]) -> Column:
    if kind != "event_id" or not links:
        for link in links:
            name = hmac_sha256(name, key=link)
        return name
    # Behind the digits stands which of several identical records it is.
    digits, number = F.substring(name, 1, EVENT_ID_DIGITS), F.substring(name, EVENT_ID_DIGITS + 1, MOST_DIGITS)
    for link in links:
        digits = F.substring(hmac_sha256(digits, key=link), 1, EVENT_ID_DIGITS)
    return F.concat(digits, number)
