import os

import pytest

from clm_spark import files
from clm_spark.errors import SettingsError


@pytest.fixture
def stores(spark, tmp_path):
    """A folder of this machine, and another one through Hadoop, as HDFS would be."""
    here, there = tmp_path / "here", tmp_path / "there"
    there.mkdir()
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    store = f"store{abs(hash(tmp_path))}"  # Hadoop remembers a store by its name
    conf.set(f"fs.viewfs.mounttable.{store}.link./shop", f"file://{there}")
    yield {f"file://{here}": here, f"viewfs://{store}/shop": there}
    conf.unset(f"fs.viewfs.mounttable.{store}.link./shop")


def test_files_are_the_same_on_every_store(stores, tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights").write_bytes(b"\x00\x01")
    for url, place in stores.items():
        assert not files.exists(f"{url}/models")
        assert files.names_in(f"{url}/models") == []
        files.remove(f"{url}/models")
        with pytest.raises(FileNotFoundError):
            files.read_bytes(f"{url}/models/a.json")

        files.write_text(f"{url}/models/a.json", "first")
        files.write_text(f"{url}/models/a.json", "zweites Mal, über das erste")
        files.write_bytes(f"{url}/models/b", b"")
        assert files.read_text(f"{url}/models/a.json") == "zweites Mal, über das erste"
        assert files.names_in(f"{url}/models") == ["a.json", "b"], "nothing unfinished"
        visible = [name for name in os.listdir(place / "models") if not name.endswith(".crc")]  # noqa: PTH208
        assert sorted(visible) == ["a.json", "b"]

        files.upload(folder, f"{url}/models/new/v1")
        files.upload(folder, f"{url}/models/new/v1")
        assert files.names_in(f"{url}/models/new/v1") == ["inner"], "over the old one, not into it"
        (place / "models" / ".b.left-by-a-killed-writer").touch()
        assert files.names_in(f"{url}/models") == ["a.json", "b", "new"]
        files.upload(folder, f"{url}/moved/v1")
        files.move(f"{url}/models/new/v1", f"{url}/moved/v1")
        assert files.names_in(f"{url}/models/new") == []
        files.move(f"{url}/moved/v1", f"{url}/models/new/v1")
        copy = tmp_path / f"copy of {place.name}"
        files.download(f"{url}/models/new/v1", copy)
        assert [path.name for path in copy.rglob("*")] == ["inner", "weights"]
        assert (copy / "inner" / "weights").read_bytes() == b"\x00\x01"
        files.remove(f"{url}/models/new")
        assert files.names_in(f"{url}/models") == ["a.json", "b"]


def test_a_write_that_fails_leaves_the_old_file(stores, monkeypatch):
    for url in stores:
        files.write_text(f"{url}/page", "old")
    here, there = stores
    with monkeypatch.context() as broken:
        broken.setattr("pathlib.Path.replace", lambda *_: 1 / 0)
        broken.setattr(files, "_replace", lambda *_: 1 / 0)
        for url in (here, there):
            with pytest.raises(ZeroDivisionError):
                files.write_text(f"{url}/page", "half")
    for url in (here, there):
        assert (files.names_in(url), files.read_text(f"{url}/page")) == (["page"], "old")


def test_a_place_is_here_or_on_a_store():
    here = {
        "lake": True,
        "/lake": True,
        "file:/lake": True,
        "file:///lake": True,
        "s3a://b/lake": False,
        "dbfs:/v": False,
    }
    assert {url: files.is_here(url) for url in here} == here
    assert files.as_url("/a/lake") == files.as_url("file:///a/lake/") == "file:///a/lake"
    assert files.as_url("s3a://bucket/lake/") == "s3a://bucket/lake"
    assert str(files.local_path("file:/a/b")) == str(files.local_path("file:///a/b")) == "/a/b"


def test_a_store_that_cannot_be_opened_is_said_in_one_line(spark):
    with pytest.raises(SettingsError, match=r"nowhere://x/y cannot be used: .*No FileSystem for scheme \"nowhere\""):
        files.exists("nowhere://x/y")
