"""The secret key of the pseudonyms: where it is read from, the chain of its rotations, and keys derived from it."""

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.settings import PrivacySettings, Settings, conf_file

BLOCK_BYTES = 64
SHORTEST_BYTES = 16
DEMO_KEY = "4f3d8dc235cc103167735c48dd6bd1343986d829b0ddd010b93b93dc2535475e"  # sha-256 of conf/demo.key
PUBLIC_SHOPS = ("complete_journey", "demo_shop")  # whose data is public
HOW_TO_NAME_ONE = "set one of privacy.key_file, privacy.key_secret (scope/name on Databricks) and privacy.key_env"


@dataclass(frozen=True)
class KeyChain:
    """Keys in the order they came into use: a pseudonym is hashed with each in turn.

    So rotation needs no raw id: every table is re-keyed by hashing its pseudonyms once more.
    """

    links: tuple[bytes, ...] = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Identifies the chain in tables and messages without revealing it."""
        return hashlib.sha256(b"".join(hashlib.sha256(link).digest() for link in self.links)).hexdigest()[:16]

    @property
    def first(self) -> "KeyChain":
        """The chain as it began."""
        return KeyChain(self.links[:1])

    def until(self, fingerprint: str) -> "KeyChain | None":
        """The chain as it was when it had that fingerprint; None: it never had."""
        grown = (KeyChain(self.links[:number]) for number in range(1, len(self.links) + 1))
        return next((chain for chain in grown if chain.fingerprint == fingerprint), None)

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose, derived from the newest link: an older one may have leaked."""
        return hmac.new(self.links[-1], f"clm-spark {purpose}".encode(), "sha256").digest()


def pseudonym_key(settings: Settings) -> KeyChain:
    """The key of this shop's pseudonyms.

    Raises `SettingsError` when it cannot be read, or is the public demo key and the shop is not a public one.
    """
    chain = _named_key(settings.privacy)
    is_public = all(hashlib.sha256(link).hexdigest() == DEMO_KEY for link in chain.links)
    if is_public and settings.shop.name not in PUBLIC_SHOPS:
        raise SettingsError(
            f"shop {settings.shop.name!r} would name its customers by the public demo key, which lets anyone find them: "
            "expected a secret of your own; make one (openssl rand -hex 32 > FILE, outside the repository) and set "
            "privacy.key_file"
        )
    return chain


def read_key(file: str) -> KeyChain:
    """The keys of a file, oldest first."""
    try:
        content = conf_file(file).read_bytes()
    except OSError as error:
        raise SettingsError(
            f"no pseudonym key at {file} ({error.strerror}): expected a secret file; set privacy.key_file"
        ) from None
    return chain_of(content, where=file)


def chain_of(content: bytes, *, where: str) -> KeyChain:
    """A key a line, oldest first, without surrounding white space; bytes that are no text are one key."""
    whole = content.strip()
    is_text = whole.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in whole)
    lines = [line.strip() for line in whole.splitlines()] if is_text else [whole]
    links = tuple(line for line in lines if line) or (b"",)
    for number, link in enumerate(links, start=1):
        if len(link) < SHORTEST_BYTES:
            which = f"key {number}" if len(links) > 1 else "the pseudonym key"
            raise SettingsError(
                f"{which} in {where} has {len(link)} bytes: expected {SHORTEST_BYTES} or more; make a longer one"
            )
    return KeyChain(links)


def hmac_sha256(content: Column, *, key: bytes) -> Column:
    """HMAC-SHA256 (RFC 2104) of text in UTF-8 or of bytes, hexadecimal; null stays null. No Python per row."""
    short = hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key
    padded = short.ljust(BLOCK_BYTES, b"\0")
    inner = unseen(bytes(byte ^ 0x36 for byte in padded))
    outer = unseen(bytes(byte ^ 0x5C for byte in padded))
    digest = F.unhex(F.sha2(F.concat(inner, content.cast("binary")), 256))
    return F.sha2(F.concat(outer, digest), 256)


def unseen(secret: bytes) -> Column:
    """The bytes as a column that no plan, event log or page of Spark's UI shows, as they would show a literal.

    It is a subquery over a relation of one row: of a relation, plans name the columns and not the rows.
    """
    spark = SparkSession.active()
    jvm: Any = spark._jvm
    gateway: Any = spark.sparkContext._gateway
    cells = gateway.new_array(jvm.java.lang.Object, 1)
    cells[0] = bytearray(secret)
    rows = jvm.java.util.ArrayList()
    rows.add(jvm.org.apache.spark.sql.RowFactory.create(cells))
    schema = jvm.org.apache.spark.sql.types.StructType.fromDDL("secret BINARY")
    return DataFrame(spark._jsparkSession.createDataFrame(rows, schema), spark).scalar()


def _named_key(privacy: PrivacySettings) -> KeyChain:
    if privacy.key_file:
        return read_key(privacy.key_file)
    if privacy.key_secret:
        return chain_of(_databricks_secret(privacy.key_secret).encode(), where=f"secret {privacy.key_secret}")
    if privacy.key_env:
        if privacy.key_env not in os.environ:
            raise SettingsError(
                f"no pseudonym key in the environment: expected it in {privacy.key_env}, the variable of privacy.key_env; "
                "set that variable where the job starts"
            )
        return chain_of(os.environ[privacy.key_env].encode(), where=f"variable {privacy.key_env}")
    raise SettingsError(f"no pseudonym key is named: expected a secret of this shop; {HOW_TO_NAME_ONE}")


def _databricks_secret(named: str) -> str:
    scope, slash, name = named.partition("/")
    if not (scope and slash and name):
        raise SettingsError(f"privacy.key_secret {named!r} names no secret: expected scope/name")
    if "DATABRICKS_RUNTIME_VERSION" not in os.environ:
        raise SettingsError(
            f"privacy.key_secret {named!r} is a Databricks secret, and this machine is not one of Databricks': "
            "set privacy.key_file or privacy.key_env here, and privacy.key_secret to null"
        )
    try:
        from databricks.sdk.runtime import dbutils

        return str(dbutils.secrets.get(scope=scope, key=name))
    except Exception as error:  # whatever the platform raises: there is no common class
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise SettingsError(
            f"the Databricks secret {named!r} cannot be read ({reason[0]}): expected a secret that this job's owner may "
            "read; check privacy.key_secret and the scope's permissions"
        ) from None
