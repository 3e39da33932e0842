"""Draw a synthetic shop and say how fast and in how much memory: `python tests/benchmarks/bench_demo.py`."""

import argparse
import tempfile
import threading
from datetime import date
from pathlib import Path

import psutil

from clm_spark.demo.shop import write_shop
from clm_spark.models.catalogue import settings_from
from clm_spark.session import build_session

MIB = 2**20


class Watch(threading.Thread):
    """Watches resident memory and CPU time of this process and all below it, by what they run."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks: dict[str, int] = {}
        self.cpu_seconds: dict[int, float] = {}
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.2):
            seen: dict[str, int] = {}
            for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
                try:
                    sort = self._sort(process)
                    seen[sort] = seen.get(sort, 0) + process.memory_info().rss
                    self.cpu_seconds[process.pid] = sum(process.cpu_times()[:2])
                except psutil.Error:
                    continue
            for sort, size in seen.items():
                self.peaks[sort] = max(size, self.peaks.get(sort, 0))

    def stop(self) -> None:
        self._done.set()
        self.join()

    def _sort(self, process: psutil.Process) -> str:
        if process.pid == psutil.Process().pid:
            return "driver, Python"
        return "driver and executor, JVM" if process.name() == "java" else "all Python workers together"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--customers", type=int, default=97_000)
    ask.add_argument("--days", type=int, default=90)
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--driver-memory", default="1g", help="heap of the JVM that does all the work here")
    ask.add_argument("--format", default="csv", choices=["csv", "jsonl", "parquet"])
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        spark_settings = {
            "master": f"local[{asked.cores}]",
            "driver_memory": asked.driver_memory,
            "conf": {"spark.sql.warehouse.dir": folder, "spark.ui.enabled": "false"},
        }
        settings = settings_from({"as_of": "2024-01-01", "lakehouse": {"path": folder}, "spark": spark_settings})
        spark = build_session(settings, app_name="bench_demo")
        watch = Watch()
        watch.start()
        written = write_shop(
            spark,
            customers=asked.customers,
            days=asked.days,
            start_on=date(2024, 1, 1),
            seed=7,
            out=str(Path(folder) / "shop"),
            log_format=asked.format,
        )
        watch.stop()
        spark.stop()
    print(f"{written.num_records:,} records, {written.log_bytes / MIB:,.0f} MiB of {asked.format}")
    print(f"{written.seconds:.1f} s, {written.num_records / written.seconds:,.0f} records/s on {asked.cores} cores")
    print(f"CPU time, Spark's start included: {sum(watch.cpu_seconds.values()):.0f} s")  # says more on a busy machine
    for sort, size in sorted(watch.peaks.items()):
        print(f"peak memory, {sort}: {size / MIB:,.0f} MiB")
    for record, number in written.records.items():
        print(f"  {record:18} {number:>12,}")


if __name__ == "__main__":
    main()
