"""Times against Python's own: datetime, zoneinfo and decimal are the oracles. Each property is one frame per example."""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pyspark.sql import functions as F
from source_fields import KEY, typed

from clm_spark.errors import SettingsError
from clm_spark.events.clocks import DEVICE_TIME, names_zone, time_from_text
from clm_spark.events.ingest.parse import typed_events
from clm_spark.settings import IngestSettings, settings_from
from clm_spark.sources.source import with_fields

MICROSECOND, MINUTE, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Gaps of 30 minutes, at midnight, at 00:01, of a whole day; a winter that is the exception; offsets of 5:45; none.
ZONES = (
    "UTC", "Europe/Vienna", "Europe/Dublin", "America/New_York", "America/St_Johns", "America/Sao_Paulo",
    "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu",
)  # fmt: skip
YEARS = range(1996, 2024)  # whose rules no later release of the zones' data changes
MANY = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # shrinking would start Spark hundreds of times
    suppress_health_check=list(HealthCheck),
)


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND


def transitions(zone: ZoneInfo) -> Iterator[datetime]:
    """The local time at every change of a zone's offset, to the hour."""
    hour = timedelta(hours=1)
    day = datetime(YEARS.start, 1, 1, tzinfo=UTC)
    while day.year in YEARS:
        if day.astimezone(zone).utcoffset() != (day + DAY).astimezone(zone).utcoffset():
            hours = (day + hour * n for n in range(24))
            change = next(h for h in hours if h.astimezone(zone).utcoffset() != (h + hour).astimezone(zone).utcoffset())
            yield change.astimezone(zone).replace(tzinfo=None)
        day += DAY


NEAR = [change for zone in ZONES for change in transitions(ZoneInfo(zone))]
anywhere = st.integers(0, 28 * 365 * 86_400_000_000).map(lambda n: datetime(1996, 1, 1) + n * MICROSECOND)  # noqa: DTZ001
near_a_change = st.tuples(st.sampled_from(NEAR), st.integers(-10_800_000_000, 10_800_000_000)).map(
    lambda drawn: drawn[0] + drawn[1] * MICROSECOND
)
wall_times = st.one_of(anywhere, near_a_change)
zone_texts = st.sampled_from(
    ["", "", "", "Z", " Z", "UTC", " GMT", "+02:00", "-0330", "+05", " +05:45", "-00:00", "+14:00", "UTC+3", " Europe/Vienna",
     "America/St_Johns"]
)  # fmt: skip
clocks = st.sampled_from(["%H:%M:%S.%f", "%H:%M:%S.%f789", "%H:%M:%S", "%H:%M", None])


def spelled(wall: datetime, separator: str, clock: str | None, zone: str) -> str:
    if clock is None:
        return f"{wall:%Y-%m-%d}"
    return wall.strftime(f"%Y-%m-%d{separator}{clock}") + (zone if "%S" in clock else "")


iso_texts = st.builds(spelled, wall_times, st.sampled_from("T "), clocks, zone_texts)
AS_PYTHON_CUTS_IT = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ](\d\d?)(?::(\d\d?)(?::(\d\d?)(?:\.(\d*))?)?)?)?"
    r"(?: ?(?:(Z|UTC|GMT)|(?:UTC|GMT|UT)?([+-])(\d\d?)(?::?(\d\d?))?(?::?(\d\d))?|([A-Z]\w+/[\w/+-]+)))?"
)


def as_python_reads(text: str, zone: str) -> int | None:
    """An ISO text in microseconds by Python alone; None where it is none."""
    capital = re.sub(r"^([0-9-]+)t", r"\1T", re.sub(r"([0-9])z$", r"\1Z", text))  # RFC 3339 allows t and z
    spaced = re.sub(r"T(\d\d)(\d\d)(\d\d)(?=\D|$)", r"T\1:\2:\3", capital)
    cut = AS_PYTHON_CUTS_IT.fullmatch(re.sub(r"T(\d\d)(\d\d)(?=[^\d:.,]|$)", r"T\1:\2", spaced))
    if cut is None:
        return None
    *numbers, fraction, is_utc, sign, hours, minutes, seconds, name = cut.groups()
    try:
        wall = datetime(*(int(n or 0) for n in numbers), int((fraction or "").ljust(6, "0")[:6]))  # noqa: DTZ001
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0), seconds=int(seconds or 0))
            if int(minutes or 0) > 59 or int(seconds or 0) > 59 or offset > timedelta(hours=18):
                return None
            return micros(wall.replace(tzinfo=UTC) - (offset if sign == "+" else -offset))
        # fold=0: an hour that does not exist is moved by the gap, of one that comes twice the first is meant.
        return micros(wall.replace(tzinfo=UTC if is_utc else ZoneInfo(name or zone), fold=0).astimezone(UTC))
    except (ValueError, OSError, KeyError):
        return None


def as_spark_reads(spark, texts, time_format, zones=("UTC",)):
    rows = spark.createDataFrame([(text,) for text in dict.fromkeys(texts)], "text string")
    moments = (F.unix_micros(time_from_text(F.col("text"), time_format, time_zone=zone)).alias(zone) for zone in zones)
    return {(row.text, zone): row[zone] for row in rows.select("text", *moments).collect() for zone in zones}


@MANY
@given(texts=st.lists(iso_texts, min_size=120, max_size=120))
def test_iso_times_are_those_of_python_in_every_zone(spark, texts):
    came = as_spark_reads(spark, texts, "iso", ZONES)
    assert came == {(text, zone): as_python_reads(text, zone) for text, zone in came}
    assert None not in came.values()


SIGNS = "0123456789-+:.TZ /UCGMtz\u0663\u00a0"
broken_texts = st.builds(
    lambda text, place, sign, drop: text[: place % len(text)] + sign + text[place % len(text) + drop :],
    iso_texts, st.integers(0, 40), st.sampled_from(SIGNS), st.integers(0, 2),
)  # fmt: skip


@MANY
@given(texts=st.lists(broken_texts, min_size=200, max_size=200))
@example(texts=["1996-01-01T00:00:00.00087z", "1996-01-01t00:00:00", "1996-01-01t00:00:00.5z", "1996-01-01T00:00:00 z"])
@example(
    texts=["2023-11-05T0110", "2023-11-05T011059.5Z", "1996-01-01T10.5", "1996-01-01T0110.5", "1996-01-01T01:10.5"]
)
def test_a_broken_time_is_refused_or_right(spark, texts):
    came = as_spark_reads(spark, texts, "iso", ("UTC", "Europe/Vienna"))
    wrong = {key: moment for key, moment in came.items() if moment not in (None, as_python_reads(*key))}
    assert not wrong


WALL = datetime(2023, 10, 29, 2, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    "written",
    [
        "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S.%f", "%d %b %Y %H:%M",
        "%Y-%m-%d %H:%M:%S +01:00", "%d/%b/%Y:%H:%M:%S -0500",
    ],
)  # fmt: skip
def test_patterns_read_what_python_writes(spark, written):
    pattern = written
    for python, java in {
        "%d": "dd", "%m": "MM", "%Y": "yyyy", "%H": "HH", "%M": "mm", "%S": "ss", "%I": "hh", "%p": "a", "%f": "SSSSSS",
        "%b": "MMM", "+01:00": "XXX", "-0500": "XX",
    }.items():  # fmt: skip
        pattern = pattern.replace(python, java)
    zoned = {"XXX": timedelta(hours=1), "XX": timedelta(hours=-5)}
    offset = next((zoned[part] for part in ("XXX", "XX") if pattern.endswith(part)), None)
    assert names_zone(pattern) == (offset is not None)
    walls = [WALL + 30 * MINUTE * n for n in range(-10, 10)] + NEAR[::40]
    came = as_spark_reads(spark, [wall.strftime(written) for wall in walls], pattern, ZONES)

    def expected(wall: datetime, zone: str) -> int:
        if offset is not None:
            return micros(wall.replace(tzinfo=UTC) - offset)
        return micros(wall.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC))

    assert came == {(wall.strftime(written), zone): expected(wall, zone) for wall in walls for zone in ZONES}


numbers = st.integers(-(10**12), 4 * 10**12).map(lambda n: Decimal(n).scaleb(-3))
epoch_texts = st.one_of(
    st.builds(lambda n, digits: f"{n:.{digits}f}", numbers, st.integers(0, 9)),
    numbers.map(lambda n: f"{n:E}"),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(
        ["", "+1", "-", ".", "1.", ".5", "1e3", "1e30", "NaN", "Infinity", "0x10", "1_000", "1,5", "1 000", "12d", "1L"]
    ),
)


NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def whole(text: str, times: int) -> int | None:
    """A number of seconds, milliseconds or microseconds in microseconds."""
    if not re.fullmatch(r"[+-]?\d+", text):
        if not re.fullmatch(NUMBER, text):
            return None
        number = Decimal(text).quantize(Decimal("1e-6"), ROUND_HALF_UP, Context(prec=60))
        micro = math.floor(number * times)
        return micro if abs(number) < 10**20 and -(2**63) <= micro < 2**63 else None
    return int(text) * times if -(2**63) <= int(text) * times < 2**63 and -(2**63) <= int(text) < 2**63 else None


def seconds(text: str) -> int | None:
    if not re.fullmatch(NUMBER, text):
        return None
    number = Decimal(text).quantize(Decimal("1e-6"), ROUND_HALF_UP, Context(prec=60))
    return int(number * 10**6) if abs(number) < 10**12 else None


@MANY
@given(texts=st.lists(epoch_texts, min_size=200, max_size=200))
def test_epochs_are_exact_or_refused(spark, texts):
    for time_format, oracle in {
        "epoch_s": seconds,
        "epoch_ms": lambda text: whole(text, 1000),
        "epoch_us": lambda text: whole(text, 1),
    }.items():
        came = as_spark_reads(spark, texts, time_format)
        assert came == {key: oracle(key[0]) for key in came}, time_format


TIMES = [  # text, format, UTC
    ("2024-02-29T12:00:00.123456Z", "iso", "2024-02-29 12:00:00.123456"),
    ("2024-02-29T12:00:00.123456999Z", "iso", "2024-02-29 12:00:00.123456"),
    ("2024-02-29T12:00:00+02:00", "iso", "2024-02-29 10:00:00"),
    ("2024-02-29T12:00:00+0200", "iso", "2024-02-29 10:00:00"),
    ("2024-02-29 12:00:00 Europe/Vienna", "iso", "2024-02-29 11:00:00"),
    ("2024-02-29 12:00:00 BST", "iso", None),  # London's summer, or Bangladesh?
    ("2024-02-29 12:00:00 CST", "iso", None),
    ("2024-02-29 12:00:00 Europe/Wien", "iso", None),
    ("2024-02-29T12:00:00+19:00", "iso", None),
    ("2024-02-29 12:00:00", "iso", "2024-02-29 12:00:00"),
    ("2024-02-29", "iso", "2024-02-29 00:00:00"),
    ("2023-02-29", "iso", None),
    ("2016-12-31T23:59:60Z", "iso", None),  # a leap second: UTC has it, no clock here does
    ("2024-02-29T24:00:00Z", "iso", "2024-03-01 00:00:00"),
    ("2024-02-29T24:00:01Z", "iso", None),
    ("20240229T120000Z", "iso", "2024-02-29 12:00:00"),
    ("20240229T1200+0200", "iso", "2024-02-29 10:00:00"),
    ("20240229", "iso", "2024-02-29 00:00:00"),
    ("2024-02-29t12:00:00z", "iso", "2024-02-29 12:00:00"),
    ("2024-02-29T12:00:00,5Z", "iso", "2024-02-29 12:00:00.5"),
    ("2024-02-29T12", "iso", "2024-02-29 12:00:00"),
    ("2024-02-29T12:00Z", "iso", "2024-02-29 12:00:00"),
    ("2024-02-29 12:00 +02:00", "iso", "2024-02-29 10:00:00"),
    ("2024-060T12:00Z", "iso", "2024-02-29 12:00:00"),
    ("2024366", "iso", "2024-12-31 00:00:00"),
    ("2023-366", "iso", None),
    ("2024-W09-4T12:00Z", "iso", "2024-02-29 12:00:00"),
    ("2024W094", "iso", "2024-02-29 00:00:00"),
    ("2024-W09", "iso", "2024-02-26 00:00:00"),
    ("2020-W53-5", "iso", "2021-01-01 00:00:00"),
    ("2021-W53-1", "iso", None),
    ("2024-W09-8", "iso", None),
    ("1709208000.0", "epoch_s", "2024-02-29 12:00:00"),
    ("1.70920812E12", "epoch_ms", "2024-02-29 12:02:00"),
    ("1709208060000.0", "epoch_ms", "2024-02-29 12:01:00"),
    ("45351.5", "spreadsheet", "2024-02-29 12:00:00"),
    ("45351", "spreadsheet", "2024-02-29 00:00:00"),
    ("45351.75000001", "spreadsheet", "2024-02-29 18:00:00.001"),
    ("spring", "spreadsheet", None),
    ("12024-02-29", "iso", None),
    ("-2024-02-29", "iso", None),
    ("today", "iso", None),
    ("now", "iso", None),
    ("epoch", "iso", None),
    ("1709208000", "iso", None),
    ("1709208000", "epoch_s", "2024-02-29 12:00:00"),
    ("1709208000.5", "epoch_s", "2024-02-29 12:00:00.5"),
    ("1.709208E9", "epoch_s", "2024-02-29 12:00:00"),
    ("1709208000123", "epoch_s", None),
    ("1709208000123", "epoch_ms", "2024-02-29 12:00:00.123"),
    ("9223372036854775807", "epoch_ms", None),
    ("1709208000123456", "epoch_us", "2024-02-29 12:00:00.123456"),
    ("2024-02-29 12:00:00 UTC", "yyyy-MM-dd HH:mm:ss 'UTC'", "2024-02-29 12:00:00"),
    ("2024-02-29 12:00:00", "yyyy-MM-dd HH:mm:ss 'UTC'", None),
    ("29.02.2024", "dd.MM.yyyy", "2024-02-29 00:00:00"),
    ("29.02.+999999999", "dd.MM.yyyy", None),
    ("29.02.2023", "dd.MM.yyyy", None),
    ("31.04.2023", "dd.MM.yyyy", None),
]


def test_times_of_every_format(spark):
    texts = spark.createDataFrame([(text,) for text, *_ in TIMES], "text string").distinct()
    formats = {time_format: str(number) for number, time_format in enumerate(dict.fromkeys(f for _, f, _ in TIMES))}
    moments = texts.select(
        "text", *(time_from_text(F.col("text"), f).cast("string").alias(name) for f, name in formats.items())
    )
    rows = {row.text: row for row in moments.collect()}
    assert [(text, f, rows[text][formats[f]]) for text, f, _ in TIMES] == TIMES


DAYLIGHT = [  # text, zone, UTC
    ("2024-03-31 01:59:59", "Europe/Vienna", "2024-03-31 00:59:59"),
    ("2024-03-31 02:30:00", "Europe/Vienna", "2024-03-31 01:30:00"),  # does not exist: read as 03:30
    ("2024-03-31 03:00:00", "Europe/Vienna", "2024-03-31 01:00:00"),
    ("2024-10-27 02:30:00", "Europe/Vienna", "2024-10-27 00:30:00"),  # comes twice: still summer
    ("2024-10-27 02:30:00Z", "Europe/Vienna", "2024-10-27 02:30:00"),
    ("2024-10-27 02:30:00+01:00", "Europe/Vienna", "2024-10-27 01:30:00"),
    ("2024-07-01", "Europe/Vienna", "2024-06-30 22:00:00"),
    ("2024-03-31 24:00", "Europe/Vienna", "2024-03-31 22:00:00"),  # of a day with 23 hours
    ("2024-10-27T24:00:00", "Europe/Vienna", "2024-10-27 23:00:00"),  # with 25
    ("2024-10-27T24:00:00 Europe/Dublin", "Europe/Vienna", "2024-10-28 00:00:00"),
    ("2024-12-31T24:00:00+02:00", "Europe/Vienna", "2024-12-31 22:00:00"),
    ("2011-12-30 12:00:00", "Pacific/Apia", "2011-12-30 22:00:00"),  # a day that Samoa left out
]


def test_hours_that_do_not_exist_or_come_twice(spark):
    zones = sorted({zone for _, zone, _ in DAYLIGHT})
    texts = spark.createDataFrame([(text,) for text, *_ in DAYLIGHT], "text string")
    moments = (time_from_text(F.col("text"), "iso", time_zone=zone).cast("string").alias(zone) for zone in zones)
    rows = {row.text: row for row in texts.select("text", *moments).collect()}
    assert [(text, zone, rows[text][zone]) for text, zone, _ in DAYLIGHT] == DAYLIGHT


SKEWED = [  # case, happened, sent, known, occurred_at, the device's time where it differs
    ("a right clock", "12:00:00", "12:00:05", "12:00:06", "2024-02-28 12:00:00", None),
    ("a minute slow", "12:00:00", "12:00:05", "12:01:05", "2024-02-28 12:00:00", None),
    ("slower than that", "12:00:00", "12:00:05", "12:01:05.000001", "2024-02-28 12:01:00.000001", "12:00:00.000000"),
    ("a minute fast", "12:00:00", "12:01:00", "12:00:00", "2024-02-28 12:00:00", None),
    ("an hour fast", "13:00:00", "13:00:05", "12:00:05", "2024-02-28 12:00:00", "13:00:00.000000"),
    ("an hour offline", "12:00:00", "13:00:00", "13:00:01", "2024-02-28 12:00:00", None),
    ("offline and fast", "15:00:00", "16:00:00", "13:00:00", "2024-02-28 12:00:00", "15:00:00.000000"),
    ("without sent_at", "13:00:00", None, "12:00:05", "2024-02-28 13:00:00", None),
    ("without known_at", "13:00:00", "13:00:05", None, "2024-02-28 13:00:00", None),
]


def test_a_wrong_clock_is_corrected(spark):
    def spelt(clock):
        return clock and f"2024-02-28T{clock}Z"

    cases = [
        (case, {"occurred_at": spelt(happened), "sent_at": spelt(sent), "known_at": spelt(known), "attributes": {"a": "b", DEVICE_TIME: "x"}})
        for case, happened, sent, known, *_ in SKEWED
    ]  # fmt: skip
    dead = {
        "occurred_at": "1970-01-01T00:00:10Z",
        "sent_at": "1970-01-01T00:01:00Z",
        "known_at": "2024-02-28T12:00:50Z",
    }
    again = {**dead, "sent_at": "1970-01-01T00:02:00Z", "known_at": "2024-02-28T12:01:52Z"}
    others = [
        ("an empty battery", dead),
        ("sent again", again),
        ("sent before it happened", {**dead, "occurred_at": "2024-02-28T12:00:00Z"}),
        ("sent at no time", {**dead, "sent_at": "soon"}),
        ("by no sane clock", {**dead, "sent_at": "0001-01-01T00:00:00Z"}),
    ]
    corrected = typed(spark, [*cases, *others], max_clock_skew=MINUTE)
    at = F.col("occurred_at").cast("string").alias("at")
    rows = {row.record: row for row in corrected.select("record", "event_id", at, "attributes", "reason").collect()}
    left = {"a": "b", DEVICE_TIME: "x"}
    for case, *_, expected, device in SKEWED:
        attributes = {"a": "b", DEVICE_TIME: f"2024-02-28T{device}Z"} if device else left
        assert (case, rows[case].at, rows[case].attributes, rows[case].reason) == (case, expected, attributes, None)
    empty, twice = rows["an empty battery"], rows["sent again"]
    assert (empty.at, empty.reason) == ("2024-02-28 12:00:00", None)
    assert empty.attributes == {DEVICE_TIME: "1970-01-01T00:00:10.000000Z"}
    assert (twice.at, twice.event_id) == ("2024-02-28 12:00:02", empty.event_id), "the same event, sent a second time"
    assert {rows[case].reason for case, _ in others[2:]} == {"impossible_time"}
    unsent = typed(spark, [(case, {**fields, "sent_at": None}) for case, fields in cases])
    untouched = unsent.select("record", "event_id").collect()
    assert {row.record: row.event_id for row in untouched} == {case: rows[case].event_id for case, _ in cases}


hours = st.integers(0, 48 * 3_600_000_000)
sendings = st.tuples(st.integers(0, 10**14), st.integers(-(10**14), 10**14), hours, st.integers(0, 50_000_000))


@MANY
@given(drawn=st.lists(sendings, min_size=100, max_size=100))
def test_a_corrected_time_is_off_by_the_transmission_alone(spark, drawn):
    start = micros(datetime(2019, 1, 1, tzinfo=UTC))
    cases, expected = [], {}
    for number, (when, error, age, way) in enumerate(drawn):
        true = start + when
        by_device = {"occurred_at": str(true + error), "sent_at": str(true + error + age)}
        cases.append((str(number), {**by_device, "known_at": str(true + age + way)}))
        expected[str(number)] = true + way if abs(way - error) > MINUTE // MICROSECOND else true + error
    rows = typed(spark, cases, time_format="epoch_us", max_clock_skew=MINUTE)
    came = rows.select("record", F.unix_micros("occurred_at").alias("at")).collect()
    assert {row.record: row.at for row in came} == expected


def test_a_source_without_sent_at_pays_nothing_for_it(spark):
    records = spark.createDataFrame(
        [("f", 1, "c", "r", None)],
        "file string, position bigint, customer_id string, record string, header string",
    )
    raw = records.withColumn("arrived_at", F.current_timestamp())
    for sent_at, is_in_plan in ({}, False), ({"sent_at": F.col("customer_id")}, True):
        named = {"customer_id": F.col("customer_id"), "known_at": F.col("record"), **sent_at}
        fields = with_fields(raw, named, is_parsable=F.lit(True))
        rows = typed_events(fields, source="s", time_format="iso", known_at="occurred", key=KEY, max_clock_skew=MINUTE)
        plan = rows.select("attributes", "occurred_at", "reason")._jdf.queryExecution().optimizedPlan().toString()
        assert (DEVICE_TIME in plan) == is_in_plan


@pytest.mark.parametrize("name", ["Europe/Wien", "CST", "EST", "europe/vienna", "+02:00", "", "posixrules"])
def test_an_unknown_zone_is_one_line(name):
    with pytest.raises(
        SettingsError, match=r"ingest\.time_zone: .*expected UTC or an IANA name such as Europe/Vienna, got"
    ):
        settings_from({"as_of": "2024-01-01", "ingest": {"time_zone": name}})
    assert IngestSettings(time_zone="Europe/Vienna").time_zone == "Europe/Vienna"
