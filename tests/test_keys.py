import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import lake_settings
from pyspark.sql import functions as F
from typer.testing import CliRunner

from clm_spark import cli
from clm_spark.errors import SettingsError
from clm_spark.keys import KeyChain, chain_of, pseudonym_key
from clm_spark.privacy.pseudonyms import pseudonym, pseudonym_of, visitor_key

ROOT = Path(__file__).parents[1]

OLD, NEW = b"the first key of a shop", b"and the one that follows"


def key_of(tmp_path, shop="test_shop", **privacy: object) -> KeyChain:
    return pseudonym_key(lake_settings(tmp_path, privacy=privacy, shop=shop))


def test_a_key_comes_from_a_file_the_environment_or_a_secret(tmp_path, monkeypatch):
    (tmp_path / "key").write_bytes(b"  " + OLD + b"\r\n\n" + NEW + b"\n")
    chain = KeyChain((OLD, NEW))
    assert key_of(tmp_path, key_file=str(tmp_path / "key")) == chain
    monkeypatch.setenv("SHOP_KEY", OLD.decode())
    assert key_of(tmp_path, key_env="SHOP_KEY") == KeyChain((OLD,)) == chain.first

    def get(*, scope: str, key: str) -> str:
        if (scope, key) != ("clm", "key"):
            raise RuntimeError("Secret does not exist\nat com.databricks...")
        return f"{OLD.decode()}\n{NEW.decode()}"

    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "18.0")
    runtime = SimpleNamespace(dbutils=SimpleNamespace(secrets=SimpleNamespace(get=get)))
    monkeypatch.setitem(sys.modules, "databricks.sdk.runtime", runtime)
    assert key_of(tmp_path, key_secret="clm/key") == chain
    with pytest.raises(SettingsError, match=r"'clm/no' cannot be read \(Secret does not exist\): expected"):
        key_of(tmp_path, key_secret="clm/no")


def test_a_pseudonym_is_the_same_with_and_without_spark(spark):
    """Of a chain of two keys, one longer than a block of SHA-256, and of letters that UTF-8 has two bytes for."""
    chain = KeyChain((OLD, NEW * 4))
    names = ["17", "Zoë", ""]
    rows = spark.createDataFrame([(name,) for name in names], "id string")
    found = [row[0] for row in rows.select(pseudonym(F.col("id"), key=chain)).collect()]
    assert found == [pseudonym_of(name, key=chain) for name in names]
    asked = ["pseudonym", "17", "--profile", "demo", "--set", f"privacy.key_file={ROOT}/tests/test.key"]
    key = chain_of((ROOT / "tests/test.key").read_bytes(), where="")
    for more, own in (([], key), (["--visitors"], visitor_key(key))):
        said = CliRunner().invoke(cli.app, [*asked, *more]).output
        assert said.splitlines() == ["id,pseudonym", f"17,{pseudonym_of('17', key=own)}"]
    said = CliRunner().invoke(cli.app, ["pseudonym", "-", *asked[2:]], input="17\nb 2\n").output
    assert said.splitlines()[1:] == [f"{name},{pseudonym_of(name, key=key)}" for name in ("17", "b 2")]


def test_what_cannot_be_a_key_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.delenv("DATABRICKS_RUNTIME_VERSION", raising=False)
    (tmp_path / "short").write_bytes(OLD + b"\nshort\n")
    (tmp_path / "empty").write_bytes(b"\n")
    demo = "conf/demo.key"
    (tmp_path / "twice").write_text(f"{open(demo).read()}\n{open(demo).read()}")  # noqa: SIM115, PTH123
    cases = [
        ({}, "no pseudonym key is named: expected a secret of this shop; set one of privacy.key_file"),
        (
            {"key_file": "a", "key_env": "B"},
            "key_file and key_env are set: expected exactly one; set the others to null",
        ),
        ({"key_file": "/nowhere.key"}, "no pseudonym key at /nowhere.key"),
        ({"key_file": str(tmp_path / "short")}, "key 2 in"),
        ({"key_file": str(tmp_path / "empty")}, "has 0 bytes: expected 16 or more"),
        ({"key_file": str(tmp_path / "twice")}, "public demo key"),
        ({"key_env": "NO_SUCH_KEY"}, "expected it in NO_SUCH_KEY"),
        ({"key_secret": "clm/key"}, "is a Databricks secret, and this machine is not one of Databricks'"),
        ({"key_secret": "clm"}, "names no secret: expected scope/name"),
    ]
    for privacy, expected in cases:
        with pytest.raises(SettingsError) as error:
            key_of(tmp_path, **privacy)
        assert expected in str(error.value)
        assert "\n" not in str(error.value)


def test_a_chain_knows_what_it_was():
    chain = KeyChain((OLD, NEW))
    assert chain.until(KeyChain((OLD,)).fingerprint) == chain.first
    assert chain.until(chain.fingerprint) == chain
    assert chain.until(KeyChain((NEW,)).fingerprint) is None
    assert chain.fingerprint != KeyChain((NEW, OLD)).fingerprint
    assert OLD.decode() not in repr(chain)
    binary = bytes(range(32))
    assert chain_of(binary, where="here").links == (binary,), "its byte 10 ends no line"
