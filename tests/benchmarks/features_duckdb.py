"""Customer features of one morning by DuckDB, from all of silver.events' files, in a process of its own."""

import argparse
from datetime import date
from pathlib import Path

import duckdb
from features_in_duckdb import features_sql


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("events", help="glob of Parquet files")
    ask.add_argument("as_of", type=date.fromisoformat)
    ask.add_argument("out", type=Path)
    ask.add_argument("--memory", default="6GB")
    ask.add_argument("--cores", type=int, default=2)
    asked = ask.parse_args()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as db:
        db.execute(f"SET memory_limit = '{asked.memory}'; SET threads = {asked.cores}; SET TimeZone = 'UTC'")
        db.execute(f"SET temp_directory = '{asked.out.parent / 'spill'}'; SET preserve_insertion_order = false")
        query = features_sql(f"read_parquet('{asked.events}')", as_of=asked.as_of)
        db.execute(f"COPY ({query}) TO '{asked.out}' (FORMAT parquet)")


if __name__ == "__main__":
    main()
