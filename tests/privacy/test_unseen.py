"""No key in what others read: plans, event logs, pages of Spark's UI."""

import base64
import contextlib
import hashlib
import hmac
import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from pyspark.sql import functions as F
from small_shop import write_log

from clm_spark.keys import BLOCK_BYTES, KeyChain, hmac_sha256, unseen
from clm_spark.privacy.pseudonyms import pseudonym, rekeyed, visitor_key
from clm_spark.tables.catalog import EVENTS, RAW_EVENTS
from clm_spark.tables.sealed import with_opened_record, with_sealed_record

KEYS = KeyChain((b"a first key of thirty-two bytes!", b"and another, longer than a block of " + b"HMAC" * 10))


def spellings(secret: bytes) -> Iterator[str]:
    """How a plan or a JSON dump might show bytes."""
    yield secret.hex()
    yield base64.b64encode(secret).decode().rstrip("=")
    yield ", ".join(str(byte) for byte in secret)
    yield ",".join(str(byte - 256 if byte > 127 else byte) for byte in secret)
    yield " ".join(f"{byte:02x}" for byte in secret)
    if secret.isascii():
        yield secret.decode()


def secrets_of(keys: KeyChain) -> list[bytes]:
    """The keys, those derived from them, and HMAC's pads, which give the key away."""
    derived = [KeyChain(keys.links[:1]).derived(purpose) for purpose in ("records", "record iv")]
    derived += [keys.derived(purpose) for purpose in ("records", "record iv")]
    secrets = [*keys.links, *visitor_key(keys).links, *derived]
    short = [hashlib.sha256(secret).digest() if len(secret) > BLOCK_BYTES else secret for secret in secrets]
    pads = [bytes(byte ^ x for byte in secret.ljust(BLOCK_BYTES, b"\0")) for secret in short for x in (0x36, 0x5C)]
    return [*secrets, *pads]


def shown(text: str, keys: KeyChain) -> list[str]:
    lower = text.lower()
    return [spelt for secret in secrets_of(keys) for spelt in spellings(secret) if spelt[:40].lower() in lower]


def test_hmac_is_that_of_python(spark):
    texts = ["", "u1", "女装", "x" * 200]
    rows = spark.createDataFrame([(text,) for text in [*texts, None]], "text string")
    for key in (b"short", b"k" * 64, b"longer than a block" * 9):
        hashed = [row[0] for row in rows.select(hmac_sha256(F.col("text"), key=key)).collect()]
        assert hashed == [*(hmac.new(key, text.encode(), "sha256").hexdigest() for text in texts), None]


def test_no_plan_shows_a_key(spark, lake):
    rows = spark.createDataFrame([("u1", "e" * 32)], "raw string, event_id string")
    named = rows.withColumn("customer_id", pseudonym(F.col("raw"), key=KEYS)).withColumn(
        "visitor_id", pseudonym(F.col("raw"), key=visitor_key(KEYS))
    )
    records = spark.createDataFrame([("f", 1, "a record")], "file string, position bigint, record string")
    for column in set(RAW_EVENTS.key) - set(records.columns):
        records = records.withColumn(column, F.lit("2024-01-01"))
    sealed = with_sealed_record(records, RAW_EVENTS, key=KEYS, keeps_raw_ids=False)
    frames = {
        "pseudonyms": named,
        "re-keyed": rekeyed(named, EVENTS, links=KEYS.links[1:]),
        "sealed": sealed,
        "opened": with_opened_record(sealed, RAW_EVENTS, key=KEYS),
    }
    assert [row.record for row in frames["opened"].collect()] == ["a record"]
    for name, frame in frames.items():
        plans = io.StringIO()
        with contextlib.redirect_stdout(plans):
            for mode in ("extended", "formatted", "codegen", "cost"):
                frame.explain(mode=mode)
        assert "secret" in plans.getvalue(), name
        assert shown(plans.getvalue(), KEYS) == [], name
    literal = io.StringIO()
    with contextlib.redirect_stdout(literal):
        rows.select(F.lit(bytearray(KEYS.links[0]))).explain(mode="extended")
    assert shown(literal.getvalue(), KEYS), "a literal would be found"
    assert [row[0] for row in rows.select(unseen(b"\x00\xff")).collect()] == [bytearray(b"\x00\xff")]


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_no_job_of_a_day_writes_a_key_into_the_event_log(tmp_path):
    (tmp_path / "log").mkdir()
    write_log(tmp_path / "log" / "events.csv")
    key = "6b" * 32
    (tmp_path / "key").write_text(key)
    options = {
        "lakehouse.path": tmp_path / "lake",
        "shop": "unseen_shop",
        "privacy.key_file": tmp_path / "key",
        "ingest.source": "rees46",
        "ingest.path": tmp_path / "log",
        "features.panel_size": 1,
        "evaluation.leave_out": "[transformer]",
        "evaluation.take_in": "[gbt,transformer_head,svd,nmf]",
        "spark.driver_memory": "2g",
        "spark.conf": json.dumps(
            {
                "spark.eventLog.enabled": "true",
                "spark.eventLog.compress": "false",
                "spark.eventLog.dir": f"file:{tmp_path / 'events'}",
                "spark.sql.ui.explainMode": "extended",
            }
        ),
    }
    (tmp_path / "events").mkdir()
    settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "clm_spark", "run", "all", "--as-of", "2024-03-01", *settings]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode in (0, 3), ended.stderr[-2000:]
    dumped = "".join(file.read_text() for file in (tmp_path / "events").rglob("*") if file.is_file())
    assert "== Analyzed Logical Plan ==" in dumped
    assert "SparkListenerSQLExecutionStart" in dumped
    assert shown(dumped, KeyChain((key.encode(),))) == []
