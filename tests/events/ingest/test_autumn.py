"""The hour that comes twice, by the order of the records in their file."""

from pyspark.sql import functions as F
from source_fields import typed

from clm_spark.events.ingest.autumn import second_hours, with_second_hours

FIRST, SECOND = "00", "01"  # the hours in UTC of 2:00 in Vienna on 2023-10-29
CASES = [  # file, its records in order: time in Vienna, hour in UTC
    ("in order", [("01:50", "23"), ("02:50", FIRST), ("02:10", SECOND), ("02:15", SECOND), ("03:00", "02")]),
    ("one pass", [("01:50", "23"), ("02:10", FIRST), ("02:50", FIRST), ("03:10", "02")]),
    ("a second late", [("02:10", FIRST), ("02:09", FIRST), ("02:59", FIRST), ("03:10", "02")]),
    ("back twice", [("02:50", FIRST), ("02:10", FIRST), ("02:40", FIRST), ("02:20", FIRST)]),
    ("not together", [("02:50", FIRST), ("12:00", "11"), ("02:10", FIRST), ("13:00", "12")]),
    ("newest first", [("12:00", "11"), ("02:50", FIRST), ("02:10", FIRST), ("01:00", "23")]),
    ("a zone is named", [("02:50+02:00", FIRST), ("02:10+01:00", SECOND)]),
]


def test_the_order_of_a_file_says_which_hour_is_meant(spark):
    lines = [(file, clock, hour) for file, records in CASES for clock, hour in records]
    cases = [
        (f"{file}/{n}", {"occurred_at": f"2023-10-29T{clock}" + ("" if "+" in clock else ":00")})
        for n, (file, clock, _) in enumerate(lines)
    ]
    records = typed(spark, cases, time_zone="Europe/Vienna").withColumn("file", F.substring_index("record", "/", 1))
    told = with_second_hours(records, second_hours(records, time_zone="Europe/Vienna"))
    assert told.columns == records.columns
    before = {row.record: row for row in records.collect()}
    after = {row.record: row for row in told.withColumn("hour", F.date_format("occurred_at", "HH")).collect()}
    assert [(line[0], line[1], after[case].hour) for line, (case, _) in zip(lines, cases, strict=True)] == lines
    assert {case: row.event_id for case, row in after.items()} == {case: row.event_id for case, row in before.items()}
    assert all(row.known_at == row.occurred_at for row in after.values())
