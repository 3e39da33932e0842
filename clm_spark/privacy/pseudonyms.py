"""Keyed pseudonyms: below bronze no raw customer id appears."""

import hashlib
import hmac
from pathlib import Path

from pyspark.sql import Column
from pyspark.sql import functions as F

from clm_spark.config import Settings
from clm_spark.errors import SettingsError

BLOCK_BYTES = 64
DEMO_KEY = "4f3d8dc235cc103167735c48dd6bd1343986d829b0ddd010b93b93dc2535475e"  # sha-256 of conf/demo.key
PUBLIC_SHOPS = ("complete_journey", "demo_shop")  # whose customers are anyone's to read


def pseudonym_key(settings: Settings) -> bytes:
    """The key of this shop's pseudonyms.

    Raises `SettingsError` when it cannot be read, or is the one that everybody has and the shop is nobody's demo.
    """
    key = read_key(settings.privacy.key_file)
    if hashlib.sha256(key).hexdigest() == DEMO_KEY and settings.shop not in PUBLIC_SHOPS:
        raise SettingsError(
            f"shop {settings.shop!r} would name its customers by the public demo key, which lets anyone find them: "
            "expected a secret of your own; make one (openssl rand -hex 32 > FILE, outside the repository) and set "
            "privacy.key_file"
        )
    return key


def read_key(file: str) -> bytes:
    """The key's bytes, without surrounding white space."""
    try:
        key = Path(file).read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"no pseudonym key at {file} ({error.strerror}): expected a secret file; set privacy.key_file"
        ) from None
    if len(key) < 16:
        raise SettingsError(f"the pseudonym key in {file} has {len(key)} bytes: expected 16 or more; make a longer one")
    return key


def visitor_key(key: bytes) -> bytes:
    """The key by which devices and cookies are named: visitor 17 is not login 17, however either is spelt."""
    return hmac.new(key, b"visitor", "sha256").digest()


def pseudonym(text: Column, *, key: bytes) -> Column:
    """HMAC-SHA256 of the text in UTF-8 (RFC 2104), hexadecimal; null stays null. Native Spark: no Python per row."""
    short = hashlib.sha256(key).digest() if len(key) > BLOCK_BYTES else key
    padded = short.ljust(BLOCK_BYTES, b"\0")
    inner = F.lit(bytearray(byte ^ 0x36 for byte in padded))
    outer = F.lit(bytearray(byte ^ 0x5C for byte in padded))
    digest = F.unhex(F.sha2(F.concat(inner, text.cast("binary")), 256))
    return F.sha2(F.concat(outer, digest), 256)
