"""Keyed pseudonyms: below bronze no raw customer id appears."""

import hmac
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark.keys import KeyChain, hmac_sha256
from clm_spark.tables.contract import Rekeyed, Table

EVENT_ID_DIGITS = 32


def pseudonym(text: Column, *, key: KeyChain) -> Column:
    """HMAC-SHA256 of the text, then of what came out by each further key, hexadecimal; null stays null."""
    return _hashed_on(text, "pseudonym", key.links)


def rekeyed(rows: DataFrame, table: Table, *, links: Sequence[bytes]) -> DataFrame:
    """What is named after customers in the table's rows, hashed once more by each of `links`: as by the longer chain.

    An event's id holds its customer's pseudonym, and goes along: whoever has an old key could else find the customer
    by it.
    """
    named = [column for column in table.columns if column.rekeyed in ("pseudonym", "event_id")]
    if not links or not named:
        return rows
    hashed = rows.withColumns(
        {column.name: _hashed_on(F.col(column.name), column.rekeyed, links) for column in named if column.rekeyed}
    )
    visits = [column.name for column in table.columns if column.rekeyed == "visit_id"]
    return hashed.withColumns({name: visit_id(F.col("customer_id"), F.col("started_at")) for name in visits})


def visit_id(customer_id: Column, started_at: Column) -> Column:
    """Names a visit after its customer and its beginning, not by counting: a late event must not renumber later ones."""
    return F.md5(F.concat_ws("|", customer_id, F.unix_micros(started_at).cast("string")))


def visitor_key(key: KeyChain) -> KeyChain:
    """The key by which devices and cookies are named: visitor 17 is not login 17, however either is spelt."""
    return KeyChain((hmac.new(key.links[0], b"visitor", "sha256").digest(), *key.links[1:]))


def _hashed_on(name: Column, kind: Rekeyed, links: Sequence[bytes]) -> Column:
    for link in links:
        digest = hmac_sha256(name, key=link)
        name = F.substring(digest, 1, EVENT_ID_DIGITS) if kind == "event_id" else digest
    return name
