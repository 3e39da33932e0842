"""Files outside tables (models, the report; raw files are read by `sources`): a path of this machine, or a URL of Spark's Hadoop.

This machine's files go through Python, all others (hdfs, s3a, abfss, ...) through the Hadoop file systems of Spark's
driver: they open with the same settings and keys as tables do. Executors have no driver: send them bytes.
"""

import os
import re
import shutil
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark import SparkContext

from clm_spark.errors import SettingsError

SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*):/")
# Stores without a rename: what is written there is seen once it is whole.
PUTS = ("s3a", "s3", "s3n", "gs")
COMPRESSED, USUAL_COMPRESSION = (".gz", ".bz2", ".zst", ".parquet"), 8


def is_here(url: str) -> bool:
    """Whether it is a file or folder of this machine: a plain path, or `file:`."""
    scheme = SCHEME.match(url)
    return scheme is None or scheme[1] == "file"


def local_path(url: str) -> Path:
    """A file or folder of this machine as an absolute path."""
    return Path(re.sub(r"^file:(//)?(?=/)", "", url)).absolute()


def as_url(path: str) -> str:
    """The place as a URL that means the same to Spark, its executors and pyarrow, without a slash at its end."""
    return f"file://{local_path(path)}" if is_here(path) else path.rstrip("/")


def size_here(url: str, *, most: int, is_unpacked: bool = False) -> int:
    """Bytes of a file or folder of this machine, counted until there are `most`; 0 where there is none.

    With `is_unpacked` about as many as there would be if nothing were compressed.
    """
    place, size = local_path(url), 0
    found = (Path(at) / name for at, _, names in os.walk(place) for name in names) if place.is_dir() else [place]
    for file in found:
        times = USUAL_COMPRESSION if is_unpacked and file.suffix in COMPRESSED else 1
        with suppress(FileNotFoundError):
            size += file.stat().st_size * times
        if size >= most:
            break
    return size


def exists(url: str) -> bool:
    """Whether there is such a file or folder."""
    if is_here(url):
        return local_path(url).exists()
    system, place = _opened(url)
    return bool(_asked(url, system.exists, place))


def names_in(url: str) -> list[str]:
    """The names of the files and folders directly in a folder, in order; none where there is no such folder.

    Those that begin with a dot are left out: what was being written when its writer was killed is named so.
    """
    if is_here(url):
        folder = local_path(url)
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    elif exists(url):
        system, place = _opened(url)
        names = [str(found.getPath().getName()) for found in _asked(url, system.listStatus, place)]
    else:
        names = []
    return sorted(name for name in names if not name.startswith("."))


def read_bytes(url: str) -> bytes:
    """The whole of a small file. Raises `FileNotFoundError`."""
    if is_here(url):
        return local_path(url).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "file"
        download(url, copy)
        return copy.read_bytes()


def read_text(url: str) -> str:
    """The whole of a small file of UTF-8."""
    return read_bytes(url).decode()


def write_bytes(url: str, content: bytes) -> None:
    """Put a file in its place at once, over an old one: a reader sees the old file or the new one, never half of it."""
    if is_here(url):
        _write_here(local_path(url), content)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "file"
        copy.write_bytes(content)
        _put(copy, url)


def write_text(url: str, content: str) -> None:
    """As `write_bytes`, in UTF-8."""
    write_bytes(url, content.encode())


def remove(url: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing where there is none."""
    if is_here(url):
        place = local_path(url)
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        return
    system, place = _opened(url)
    _asked(url, system.delete, place, True)


def upload(folder: Path, url: str) -> None:
    """Copy a folder of this machine to a place where there is none yet, or over the one that is there."""
    remove(url)
    if is_here(url):
        shutil.copytree(folder, local_path(url))
        return
    system, place = _opened(url)
    _asked(url, system.mkdirs, place.getParent())
    _asked(url, system.copyFromLocalFile, False, True, _path(f"file://{folder.absolute()}"), place)


def download(url: str, target: Path) -> None:
    """Copy a file or folder to a path of this machine that is not taken. Raises `FileNotFoundError`."""
    if not exists(url):
        raise FileNotFoundError(url)
    if is_here(url):
        source = local_path(url)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
        return
    system, place = _opened(url)
    _asked(url, system.copyToLocalFile, False, place, _path(f"file://{target.absolute()}"), True)


def move(source: str, target: str) -> None:
    """Take a folder to another place of the same store, over the one that is there; its files do not pass this machine."""
    remove(target)
    if is_here(source):
        local_path(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(local_path(source), local_path(target))
        return
    system, place = _opened(source)
    there = _path(target)
    _asked(target, system.mkdirs, there.getParent())
    if not _asked(source, system.rename, place, there):
        raise SettingsError(f"{source} could not be moved to {target}: its store refused; look into the store's log")


def hadoop_settings(prefix: str) -> dict[str, str]:
    """Spark's Hadoop settings whose names begin so, by the rest of the name."""
    return {str(name): str(value) for name, value in dict(_conf().getPropsWithPrefix(prefix)).items()}


def hadoop_secret(name: str) -> str | None:
    """A key or password of Spark's Hadoop settings, or of the credential provider that they name."""
    letters = _conf().getPassword(name)
    return None if letters is None else "".join(letters)


def _write_here(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        unfinished.chmod(0o644)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _put(copy: Path, url: str) -> None:
    system, place = _opened(url)
    source = _path(f"file://{copy}")
    _asked(url, system.mkdirs, place.getParent())
    if place.toUri().getScheme() in PUTS:
        _asked(url, system.copyFromLocalFile, False, True, source, place)
        return
    unfinished = _path(f".{place.getName()}.{uuid.uuid4().hex}", place.getParent())
    try:
        _asked(url, system.copyFromLocalFile, False, True, source, unfinished)
        _replace(unfinished, place)
    finally:
        system.delete(unfinished, False)


def _replace(unfinished: Any, place: Any) -> None:
    """Rename over the old file in one step, which `FileSystem.rename` does not."""
    jvm: Any = _context()._jvm
    hadoop = jvm.org.apache.hadoop.fs
    options = _context()._gateway.new_array(hadoop.Options.Rename, 1)
    options[0] = hadoop.Options.Rename.OVERWRITE
    context = hadoop.FileContext.getFileContext(place.toUri(), _conf())
    _asked(str(place), context.rename, unfinished, place, options)


def _opened(url: str) -> tuple[Any, Any]:
    """The Hadoop file system of a URL, and the URL as one of its paths."""
    place = _path(url)
    return _asked(url, place.getFileSystem, _conf()), place


def _path(name: str, parent: Any = None) -> Any:
    path = _context()._jvm.org.apache.hadoop.fs.Path
    return path(name) if parent is None else path(parent, name)


def _conf() -> Any:
    return _context()._jsc.hadoopConfiguration()


def _context() -> Any:
    context = SparkContext._active_spark_context
    if context is None:
        raise SettingsError("files beyond this machine are opened by Spark's driver: start a session first")
    return context


def _asked(url: str, call: Any, *arguments: Any) -> Any:
    """What a file system answers; what it refuses, in one line."""
    try:
        return call(*arguments)
    except Py4JJavaError as error:
        reason = str(error.java_exception.toString()).splitlines()[0]
        raise SettingsError(
            f"{url} cannot be used: {reason}; check the URL, and Spark's settings of its store (spark.hadoop.*)"
        ) from error
