"""Build dist/clm-env-EXTRA.tar.gz: a Python with all our packages that runs from any folder of a bare machine.

`spark-submit --archives dist/clm-env-train.tar.gz#env` with PYSPARK_PYTHON=./env/bin/python unpacks and runs it on every
executor. venv-pack and conda-pack were not taken: the first packs a symlink where Python should be, so that every
machine needs the same Python at the same path, the second needs conda.

It is made of .venv, which infra/setup.sh has made for EXTRA. Left out are Spark's jars, which a cluster has, and, unless
--cuda is given, what torch has for GPUs (cpu_torch.py).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackagePath, distribution
from pathlib import Path

from cpu_torch import without_cuda
from interpreter import copy_python
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
CUDA = ("nvidia-", "cuda-", "triton")
NOT_PACKED = (
    *(f"pyspark/{name}" for name in ("jars", "bin", "sbin", "examples", "data")),
    *(f"torch/{name}" for name in ("include", "share")),
)
CLM = """#!/bin/sh
'''exec' "$(dirname "$(readlink -f "$0")")/python" "$0" "$@"
' '''
from clm_spark.cli import main

main()
"""


def distributions(extra: str, *, with_cuda: bool) -> Iterator[Distribution]:
    """What requirements/EXTRA.txt pins for this machine, as it is installed."""
    for line in (ROOT / f"requirements/{extra}.txt").read_text().splitlines():
        if line[:1].isalnum():
            asked = Requirement(line.removesuffix("\\").strip())
            is_for_here = asked.marker is None or asked.marker.evaluate()
            if is_for_here and (with_cuda or not asked.name.startswith(CUDA)):
                yield distribution(asked.name)
    if extra == "train":
        yield distribution("horovod")  # infra/horovod/build.sh made it


def copy_packages(packages: Iterator[Distribution], site: Path) -> None:
    for package in packages:
        for file in package.files or ():
            if is_packed(file):
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file.locate(), site / file)


def is_packed(file: PackagePath) -> bool:
    """Scripts name .venv; what a Spark has, or a compiler needs, is no use there."""
    return ".." not in file.parts and not str(file).startswith(tuple(f"{folder}/" for folder in NOT_PACKED))


def install_clm(site: Path, scripts: Path) -> None:
    """Our own wheel, and `clm` finding the Python beside it."""
    with tempfile.TemporaryDirectory() as folder:
        build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(site)
    (scripts / "clm").write_text(CLM)
    (scripts / "clm").chmod(0o755)


def compress(folder: Path, archive: Path) -> None:
    archive.parent.mkdir(exist_ok=True)
    unfinished = archive.with_name(f"{archive.name}.unfinished")
    gzip = "pigz" if shutil.which("pigz") else "gzip"
    tar = ["tar", "--create", "--owner=0", "--group=0", "--numeric-owner", "--sort=name", "--use-compress-program"]
    subprocess.run([*tar, f"{gzip} -4", "--file", unfinished, "-C", folder, "."], check=True)
    unfinished.replace(archive)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("extra", choices=["spark", "train"])
    ask.add_argument("--cuda", action="store_true", help="for executors with GPUs: 3.4 GB more")
    asked = ask.parse_args()
    begun = time.monotonic()
    folder, archive = ROOT / f"build/clm-env-{asked.extra}", ROOT / f"dist/clm-env-{asked.extra}.tar.gz"
    shutil.rmtree(folder, ignore_errors=True)
    site = copy_python(folder)
    copy_packages(distributions(asked.extra, with_cuda=asked.cuda), site)
    install_clm(site, folder / "bin")
    if asked.extra == "train" and not asked.cuda:
        without_cuda(site)
    python = folder / "bin/python"
    bare = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    subprocess.run([python, "-m", "compileall", "-q", site / "clm_spark"], env=bare, check=True)
    subprocess.run([python, Path(__file__).with_name("try_pack.py"), asked.extra], env=bare, cwd="/", check=True)
    compress(folder, archive)
    unpacked = sum(file.lstat().st_size for file in folder.rglob("*")) / 1e6
    size, seconds = archive.stat().st_size / 1e6, time.monotonic() - begun
    print(f"{archive.relative_to(ROOT)}: {size:,.0f} MB, {unpacked:,.0f} MB unpacked, {seconds:.0f} s")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
