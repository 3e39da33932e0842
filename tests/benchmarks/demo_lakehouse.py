"""The synthetic shop in a lakehouse, taken through some of the jobs."""

from collections.abc import Collection
from datetime import date
from pathlib import Path

from clm_spark.demo.shop import write_shop
from clm_spark.models.catalogue import load_settings
from clm_spark.pipeline import JOBS
from clm_spark.runner import run_jobs
from clm_spark.session import build_session
from clm_spark.tables.lake import Lake

START_ON = date(2024, 1, 1)


def demo_lakehouse(
    place: Path, *, customers: int, days: int, jobs: Collection[str], overrides: list[str], app_name: str, seed: int = 1
) -> Lake:
    """A lakehouse at `place` after these jobs as of the morning after the shop's last day; the shop is drawn once."""
    own = [f"lakehouse.path={place / 'lakehouse'}", f"ingest.path={place / 'shop' / 'log'}", *overrides]
    as_of = date.fromordinal(START_ON.toordinal() + days)
    settings = load_settings("demo", as_of=as_of, overrides=own)
    spark = build_session(settings, app_name=app_name)
    if not (place / "shop" / "parameters.json").exists():  # written last
        write_shop(spark, customers=customers, days=days, start_on=START_ON, seed=seed, out=str(place / "shop"))
    asked = [job for job in JOBS if job.name in jobs]
    failed = [each for each in run_jobs(spark, settings, asked, parallel=1, say=lambda *_: None) if each.error]
    if failed:
        raise SystemExit(f"{failed[0].job}: {failed[0].error}")
    return Lake(spark, settings)
