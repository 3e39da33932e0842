"""Key rotation: the pseudonyms of every table are hashed once more, each table in one commit. It can be resumed.

No raw id is needed: the settings' key holds the old keys and the new one, and a pseudonym of the longer chain is the
old one hashed by the new key. The tables' commits tell which of them are done.
"""

import logging
from dataclasses import dataclass

from clm_spark.errors import ContractError
from clm_spark.keys import KeyChain
from clm_spark.privacy.pseudonyms import rekeyed
from clm_spark.tables.catalog import TABLES
from clm_spark.tables.contract import Table
from clm_spark.tables.keyed import FINISH, KeyRecord
from clm_spark.tables.lake import Lake
from clm_spark.tables.sealed import with_opened_record, with_sealed_record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeyChange:
    """From the key that the lakehouse is keyed by to that of the settings."""

    old: KeyChain
    new: KeyChain

    @property
    def links(self) -> tuple[bytes, ...]:
        """The new keys, by which pseudonyms are still to be hashed."""
        return self.new.links[len(self.old.links) :]


def begin_key_change(lake: Lake) -> KeyChange:
    """Record that a change of key has begun: other jobs are refused until it is finished.

    Raises `ContractError` when the settings' key does not go on from the lakehouse's.
    """
    place, new, record = lake.settings.lakehouse.path, lake.schemas.key, lake.schemas.key_record()
    if record is None:
        raise ContractError(
            f"lakehouse {place} names no key: expected one that a job has written to; "
            "run any job that writes customers under the present key first"
        )
    if record.becoming not in (None, new.fingerprint):
        raise ContractError(
            f"lakehouse {place} is being re-keyed to {record.becoming}, and the settings' key is {new.fingerprint}: {FINISH}"
        )
    old = new.until(record.now)
    if old is None:
        raise ContractError(
            f"the settings' key {new.fingerprint} does not go on from {record.now}, by which lakehouse {place} is keyed: "
            "expected the old key in the first line and the new one below it"
        )
    if new != old:
        lake.schemas.record_key(KeyRecord(old.fingerprint, becoming=new.fingerprint))
    return KeyChange(old, new)


def rekey_tables(lake: Lake, change: KeyChange) -> int:
    """Re-key every table that is not keyed by the new key yet, and apply `privacy.keep_raw_ids`; returns their number."""
    keyed = (table for table in TABLES if table.is_keyed and lake.exists(table))
    return sum(_rekey(lake, table, change) for table in keyed)


def finish_key_change(lake: Lake, change: KeyChange, *, num_tables: int) -> None:
    """Record that all tables are keyed by the new key, and log what still holds old pseudonyms."""
    lake.schemas.record_key(KeyRecord(change.new.fingerprint))
    log.info(
        "keyed by %s, %d tables re-keyed; their old versions hold the old pseudonyms until VACUUM removes them (Delta keeps "
        "seven days), and so do reports and lists handed out before: make those again",
        change.new.fingerprint,
        num_tables,
    )


def _rekey(lake: Lake, table: Table, change: KeyChange) -> bool:
    keys = lake.keys_of(table)
    now = keys[0] if keys else change.old.fingerprint
    if now == change.new.fingerprint and lake.keeps_records_as_set(table):
        return False
    if now != change.new.fingerprint and change.new.fingerprint in keys:
        raise ContractError(
            f"{table.title} was re-keyed to {change.new.fingerprint} and then written under {now}, by a job that ran "
            "meanwhile: its rows are mixed; RESTORE it to the version that re-keyed it, and run that job again afterwards"
        )
    start = change.new.until(now)
    if start is None:
        raise ContractError(f"{table.title} is keyed by {now}, which the settings' key does not go on from")
    rows = rekeyed(lake.stored(table), table, links=change.new.links[len(start.links) :])
    keeps_raw_ids = lake.settings.privacy.keep_raw_ids
    opened = with_opened_record(rows, table, key=start)
    sealed = with_sealed_record(opened, table, key=change.new, keeps_raw_ids=keeps_raw_ids)
    lake.rewrite(sealed, into=table, key=change.new.fingerprint)
    return True
