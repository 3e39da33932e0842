"""By which key a lakehouse is keyed: its silver schema says so, and every commit to a table that holds pseudonyms."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Row

from clm_spark.errors import ContractError
from clm_spark.keys import KeyChain
from clm_spark.tables.commits import mark_of, standing

KEY_PROPERTY = "clm.key"
FINISH = "finish it with `clm rotate-key` under that key"


@dataclass(frozen=True)
class KeyRecord:
    """Fingerprint of the key that the lakehouse is keyed by, and of the one it is being changed to."""

    now: str
    becoming: str | None = None

    @classmethod
    def read(cls, text: str | None) -> "KeyRecord | None":
        """From a schema's property, as `written` wrote it; None where there is none."""
        now, _, becoming = (text or "").partition(">")
        return cls(now, becoming or None) if now else None

    @property
    def written(self) -> str:
        """As the schema's property holds it."""
        return f"{self.now}>{self.becoming}" if self.becoming else self.now


def check_whole(record: KeyRecord | None, place: str) -> None:
    """Refuse a lakehouse of which some tables are keyed by the old key and some by the new one."""
    if record and record.becoming:
        raise ContractError(
            f"lakehouse {place} is half re-keyed, from key {record.now} to {record.becoming}: expected one key in all "
            f"tables; {FINISH}"
        )


def check_same(record: KeyRecord, chain: KeyChain, place: str) -> None:
    """Refuse a key other than the lakehouse's: each customer would be two."""
    check_whole(record, place)
    if record.now == chain.fingerprint:
        return
    if chain.until(record.now):
        raise ContractError(
            f"lakehouse {place} is keyed by {record.now}, and the settings' key {chain.fingerprint} has a line more: "
            "re-key the tables first with `clm rotate-key`, while no other job runs"
        )
    raise ContractError(
        f"lakehouse {place} is keyed by {record.now}, and the settings' key is {chain.fingerprint}: under another key "
        "every customer would become two; name the key that the tables were made with, or, to change it, add the new "
        "one as a line below the old one and run `clm rotate-key`"
    )


def table_keys(commits: Sequence[Row]) -> list[str]:
    """The keys that a table's commits name, newest first; what a RESTORE undid does not count."""
    return [key for commit in standing(commits) if (key := mark_of(commit).get("key"))]
