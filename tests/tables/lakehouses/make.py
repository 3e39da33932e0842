"""Make a small lakehouse with the release that PYTHONPATH names, for the upgrade test of later releases.

    PYTHONPATH=PATH/TO/RELEASE python tests/tables/lakehouses/make.py tests/tables/lakehouses/0.1.0.tar.xz

Run it from a checkout of that release, before the next one changes a contract. It only uses the command line `clm`, and
calls settings as the release named by the file does. A synthetic shop goes through all daily jobs and a panel; its
metastore and logs are left out, for a test knows the tables by their folders. It names the tables that stayed empty: an
upgrade test can compare no row of them.
"""

import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ANSWERED, AS_OF, NEXT_DAY = "2024-05-04", "2024-06-01", "2024-06-02"  # 28 days after the first its labels are known
SHOP = ["--customers", "60", "--days", "110", "--start-on", "2024-02-12", "--seed", "7"]
SMALL = [
    "spark.shuffle_partitions=1",
    "churn.horizon_days=28",
    "churn.active_days=56",
    "als.rank=8",
    "als.iterations=3",
    "transformer.launcher=one_process",
    "transformer.ranks=1",
    "transformer.width=16",
    "transformer.negatives=16",
    "transformer.epochs=1",
    "recommend.top_k=5",
    "recommend.min_item_events=2",
]
# What a release calls differently from the one before; with these the trees beat the rules, and so score.
TREES = {
    (0, 1, 0): ["churn.max_iterations=20", "churn.min_leaf_customers=3"],
    (0, 2, 0): ["gbt.max_iterations=20", "gbt.min_leaf_customers=3"],
}
LEFT_OUT = ("metastore", "logs", "report.html", "_temporary", ".crc", "staging")


def main(out: Path) -> None:
    release = tuple(int(part) for part in out.name.removesuffix(".tar.xz").split("."))
    with tempfile.TemporaryDirectory() as folder:
        lakehouse, mapping = Path(folder) / "lakehouse", Path(folder) / "mapping.yml"
        mapping.write_text(with_visitors(Path("conf/sources/demo_shop.yml").read_text()))
        places = [f"lakehouse.path={lakehouse}", f"ingest.path={folder}/shop/log", f"ingest.mapping={mapping}"]
        trees = TREES[max(known for known in TREES if known <= release)]
        sets = [part for setting in [*places, *SMALL, *trees] for part in ("--set", setting)]
        clm("demo", "--out", f"{folder}/shop", *SHOP, *sets[:2])
        clm("run", "all", "--profile", "demo", "--as-of", AS_OF, *sets)
        clm("panel", "--from", ANSWERED, "--to", ANSWERED, "--horizon", "28d", "--profile", "demo", *sets)
        clm("run", "build_features", "--profile", "demo", "--as-of", NEXT_DAY, *sets)
        forget_folder(lakehouse / "mlflow.db")
        pack(lakehouse, out)
        sys.stdout.write(
            f"{out}: {out.stat().st_size:,} bytes; empty: {', '.join(empty_tables(lakehouse)) or 'none'}\n"
        )


def with_visitors(mapping: str) -> str:
    """The shop has no visitor ids, so its campaigns stand for them: devices that many customers share."""
    return mapping.replace("  campaign_id: campaign_id", "  visitor_id: campaign_id")


def empty_tables(lakehouse: Path) -> list[str]:
    tables = sorted((lakehouse / "tables").glob("*.db/*"))
    return [f"{table.parent.stem}.{table.name}" for table in tables if not any(table.rglob("*.parquet"))]


def forget_folder(store: Path) -> None:
    """MLflow writes down where it was started."""
    with sqlite3.connect(store) as opened:
        opened.execute("UPDATE experiments SET artifact_location = 'mlruns/0' WHERE name = 'Default'")
    opened.close()
    with sqlite3.connect(store) as opened:
        opened.execute("VACUUM")
    opened.close()


def pack(lakehouse: Path, out: Path) -> None:
    with tarfile.open(out, "w:xz", preset=9) as tar:
        for file in sorted(lakehouse.rglob("*")):
            if file.is_file() and not any(part.endswith(LEFT_OUT) for part in file.relative_to(lakehouse).parts):
                tar.add(file, str(file.relative_to(lakehouse)), filter=nameless)


def clm(*words: str) -> None:
    command = "import sys; from clm_spark.cli import main; sys.argv[0] = 'clm'; main()"
    # xz packs tables better than snappy does.
    unpacked = {"PYSPARK_SUBMIT_ARGS": "--conf spark.sql.parquet.compression.codec=uncompressed pyspark-shell"}
    subprocess.run([sys.executable, "-c", command, *words], check=True, env=os.environ | unpacked)


def nameless(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without whose file it was and when."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
