"""Encryption of raw records: sealed when written to bronze, opened when read."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.keys import KeyChain, hmac_sha256, unseen
from clm_spark.tables.contract import Table

SEAL = "clm-sealed:"
IV_DIGITS = 24  # 12 bytes, as GCM wants
RECORDS_PROPERTY = "clm.records"


def way_to_keep(*, keeps_raw_ids: bool) -> str:
    """What a table's property says of its records."""
    return "plain" if keeps_raw_ids else "sealed"


def with_sealed_record(rows: DataFrame, table: Table, *, key: KeyChain, keeps_raw_ids: bool) -> DataFrame:
    """Encrypt the table's raw records (AES-256, GCM), or leave them where bronze may keep them as they came.

    The same record at the same place gives the same bytes, so that a batch ingested again leaves the same rows: the IV
    is made of both. It comes again only with the same text, as GCM demands. A record that looks sealed is sealed.
    """
    if table.record is None:
        return rows
    record = F.col(table.record)
    place = [F.col(name).cast("string") for name in table.key]
    message = F.concat(F.concat_ws("\x1f", *place).cast("binary"), F.lit(bytearray(b"\x1f")), record.cast("binary"))
    iv = F.unhex(F.substring(hmac_sha256(message, key=key.derived("record iv")), 1, IV_DIGITS))
    secret = unseen(key.derived("records"))
    sealed = F.concat(F.lit(SEAL), F.base64(F.aes_encrypt(record.cast("binary"), secret, F.lit("GCM"), iv=iv)))
    must_be = F.startswith(record, F.lit(SEAL)) if keeps_raw_ids else record.isNotNull()
    return rows.withColumn(table.record, F.when(must_be, sealed).otherwise(record))


def with_opened_record(rows: DataFrame, table: Table, *, key: KeyChain) -> DataFrame:
    """Decrypt the table's raw records; those kept as they came stay. Another key than the one they have raises."""
    if table.record is None:
        return rows
    record = F.col(table.record)
    secret = unseen(key.derived("records"))
    text = F.substring(record, len(SEAL) + 1, 2**31 - 1)
    opened = F.aes_decrypt(F.unbase64(text), secret, F.lit("GCM")).cast("string")
    return rows.withColumn(table.record, F.when(F.startswith(record, F.lit(SEAL)), opened).otherwise(record))
