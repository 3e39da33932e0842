"""tables that name customers -> the same under the settings' new key: after a key was added below the old one."""

from clm_spark.job import main
from clm_spark.models.flow import rekey
from clm_spark.privacy.rotate import begin_key_change, finish_key_change, rekey_tables
from clm_spark.settings import Settings
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Re-key tables and models; run again after a crash, it does what is left."""
    change = begin_key_change(lake)
    num_tables = rekey_tables(lake, change)
    if change.links:
        rekey(lake, links=change.links, key=change.new.fingerprint)
    finish_key_change(lake, change, num_tables=num_tables)


if __name__ == "__main__":
    raise SystemExit(main(run))
