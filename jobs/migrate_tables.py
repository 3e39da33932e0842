"""every table -> every table: bring a lakehouse of an earlier release to the contracts of this one."""

from clm_spark.job import main
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake
from clm_spark.tables.migrate import migrate


def run(lake: Lake, settings: Settings) -> None:
    """Change what differs, each change in one commit; run again after a crash, it does what is left."""
    migrate(lake)


if __name__ == "__main__":
    raise SystemExit(main(run))
