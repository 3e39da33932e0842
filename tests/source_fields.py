"""Records as a source leaves them, for tests of what the parser makes of them."""

from datetime import UTC, datetime

from clm_spark.events.ingest.parse import typed_events
from clm_spark.keys import KeyChain
from clm_spark.sources.source import TEXT_FIELDS

KEY = KeyChain((b"a key for tests only",))
ARRIVED = datetime(2024, 3, 1, tzinfo=UTC)
GOOD = {"customer_id": "c1", "occurred_at": "2024-02-29T12:00:00Z", "kind": "purchase", "item_id": "i1"}
RAW = ", ".join(f"{name} string" for name in ("case", "record", *TEXT_FIELDS, "file", "header"))


def fields(spark, cases):
    """Rows as a source leaves them: case, is_parsable and the fields that differ from GOOD."""
    rows = []
    for position, (case, changes) in enumerate(cases):
        said = {**GOOD, "is_parsable": True, "is_wanted": True, "attributes": None, **changes}
        texts = [said.get(name) for name in TEXT_FIELDS]
        rows.append(
            (
                case,
                case,
                *texts,
                "f",
                None,
                position,
                ARRIVED,
                said["is_parsable"],
                said["is_wanted"],
                said["attributes"],
                said["attributes"],
                None,
            )
        )
    schema = (
        f"{RAW}, position bigint, arrived_at timestamp, is_parsable boolean, is_wanted boolean, attributes map<string,string>, "
        "known_attributes map<string,string>, "
        "new_columns array<string>"
    )
    return spark.createDataFrame(rows, schema)


def typed(spark, cases, *, known_at="occurred", time_format="iso", **clocks):
    given = {"source": "test", "time_format": time_format, "known_at": known_at, "key": KEY, **clocks}
    return typed_events(fields(spark, cases), **given)
