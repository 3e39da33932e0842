"""Times as logs write them, to UTC: their spellings, their zones, and devices whose clocks are wrong."""

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from pyspark.sql import Column
from pyspark.sql import functions as F

EARLIEST = "1995-01-01"  # no shop sold online before
EPOCHS = {"epoch_ms": 1_000, "epoch_us": 1}
EPOCH_NUMBER = "decimal(26,6)"
DAYS_TO_1970 = 25_569  # of a spreadsheet, which counts days from 1899-12-30
DAY_IN_SECONDS = 86_400
DEVICE_TIME = "device_occurred_at"  # the attribute with the time of a device whose clock was wrong
ISO_IN_UTC = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"

# Spark alone would also read `now` and `12:00`, of the day on which the job runs, and zones by names that mean two
# places: to it BST is Bangladesh and CST Chicago. A zone is Z, UTC, GMT, an offset, or Area/City.
_DATE = r"\d{4}-\d{1,2}-\d{1,2}"
_CLOCK = r"[T ][\d:.]+"
_ZONE = r" ?(?:Z|(?:UTC|GMT|UT)?[+-][\d:]+|UTC|GMT|[A-Z]\w+/[\w/+-]+)"
ISO = rf"^{_DATE}(?:{_CLOCK}(?:{_ZONE})?)?$"
ISO_WITHOUT_ZONE = rf"^{_DATE}(?:{_CLOCK})?$"
_ORDINAL = r"^(\d{4})-?(\d{3})(?=T|$)"
_WEEK = r"^(\d{4})-?W(\d{2})(?:-?(\d))?(?=T|$)"
_DAY_BEFORE_MIDNIGHT = rf"^({_DATE})[T ]24:00(?::00(?:\.0+)?)?(?=[^\d:.]|$)"


def time_from_text(text: Column, time_format: str, *, time_zone: str = "UTC") -> Column:
    """A UTC time, or null where the text is none; digits beyond a microsecond are cut off.

    A text that names no zone is a time of `time_zone`. Daylight saving goes by the rule of java.time: an hour that does
    not exist is moved forward by the gap, and an hour that comes twice is read as the first of the two.
    """
    if time_format == "epoch_s":
        return F.timestamp_seconds(text.try_cast("decimal(18,6)"))
    if time_format in EPOCHS:
        unit = F.lit(EPOCHS[time_format])
        whole = F.try_multiply(text.try_cast("bigint"), unit)
        # As data frames write it: 1709208000000.0, 1.709208E12.
        fraction = F.floor(F.try_multiply(text.try_cast(EPOCH_NUMBER), unit)).try_cast("bigint")
        return F.timestamp_micros(F.when(text.rlike("[.eE]"), fraction).otherwise(whole))
    if time_format == "iso":
        usual = _iso_moment(text, time_zone)
        # Bound to names, not repeated: as one expression the rare spellings would be thousands of nodes.
        rare = _bound(text, lambda spelt: _bound(_usual_iso(spelt), lambda iso: _late(iso, time_zone)))
        return F.when(text.isNotNull(), F.coalesce(usual, rare))  # of no text nothing is planned
    if time_format == "spreadsheet":
        days = text.try_cast("decimal(18,12)") - F.lit(DAYS_TO_1970)
        moment = F.timestamp_millis(F.round(days * F.lit(DAY_IN_SECONDS * 1000)).try_cast("bigint"))
        is_local = F.lit(True)
    else:
        moment = F.try_to_timestamp(text, F.lit(time_format))
        is_local = F.lit(not names_zone(time_format))
    if time_zone == "UTC":
        return moment
    return F.when(is_local, F.to_utc_timestamp(moment, time_zone)).otherwise(moment)


def comes_twice(text: Column, moment: Column, time_format: str, *, time_zone: str) -> Column:
    """Whether a text without a zone shows a time that the clock of `time_zone` shows again an hour after `moment`."""
    if time_zone == "UTC" or time_format.startswith("epoch") or (time_format != "iso" and names_zone(time_format)):
        return F.lit(False)
    is_local = text.rlike(ISO_WITHOUT_ZONE) if time_format == "iso" else F.lit(True)
    now, later = (F.from_utc_timestamp(at, time_zone) for at in (moment, moment + F.expr("INTERVAL 1 HOUR")))
    return F.coalesce(is_local & (now == later), F.lit(False))


def _iso_moment(text: Column, time_zone: str) -> Column:
    """The usual spellings, or null."""
    moment = F.when(text.rlike(ISO), text.try_cast("timestamp"))
    if time_zone == "UTC":
        return moment
    return F.when(text.rlike(ISO_WITHOUT_ZONE), F.to_utc_timestamp(moment, time_zone)).otherwise(moment)


def _late(iso: Column, time_zone: str) -> Column:
    """The same, of a day that may end at 24:00."""
    day = F.regexp_extract(iso, _DAY_BEFORE_MIDNIGHT, 1).try_cast("date")
    # The day, not 24 hours later: a day of daylight saving has 23 or 25.
    midnight = F.concat(F.date_add(day, 1).cast("string"), F.regexp_replace(iso, _DAY_BEFORE_MIDNIGHT, "T00:00:00"))
    return _iso_moment(F.when(iso.rlike(_DAY_BEFORE_MIDNIGHT), midnight).otherwise(iso), time_zone)


def _usual_iso(text: Column) -> Column:
    """The rarer spellings of ISO 8601 as the usual one: 20240229T120000Z, 2024-060, 2024-W09-4, 12:00:00,5, t and z."""
    spelt = F.regexp_replace(F.regexp_replace(text, r"^([\d-]+)t", "$1T"), r"(\d)z$", "$1Z")
    return _bound(_with_usual_day(spelt), _with_usual_clock)


def _with_usual_day(text: Column) -> Column:
    year = F.regexp_extract(text, r"^(\d{4})", 1).try_cast("int")
    day = F.regexp_extract(text, _ORDINAL, 2).try_cast("int")
    week = F.regexp_extract(text, _WEEK, 2).try_cast("int")
    weekday = F.coalesce(F.regexp_extract(text, _WEEK, 3).try_cast("int"), F.lit(1))
    of_year = F.date_add(F.make_date(year, F.lit(1), F.lit(1)), day - 1)
    # The week of 4 January is the first.
    of_week = F.date_add(F.trunc(F.make_date(year, F.lit(1), F.lit(4)), "week"), (week - 1) * 7 + weekday - 1)
    is_day = day.between(1, 366) & (F.year(of_year) == year)
    # Thursday's year is the week's: there is no week 53 in a year of 52.
    is_week = week.between(1, 53) & weekday.between(1, 7) & (F.year(F.date_add(F.trunc(of_week, "week"), 3)) == year)
    return (
        F.when(text.rlike(_ORDINAL) & is_day, F.concat(of_year.cast("string"), F.regexp_replace(text, _ORDINAL, "")))
        .when(text.rlike(_WEEK) & is_week, F.concat(of_week.cast("string"), F.regexp_replace(text, _WEEK, "")))
        .otherwise(F.regexp_replace(text, r"^(\d{4})(\d{2})(\d{2})(?=T|$)", "$1-$2-$3"))
    )


def _with_usual_clock(text: Column) -> Column:
    for compact, usual in (
        (r"T(\d{2})(\d{2})(\d{2})(?=\D|$)", "T$1:$2:$3"),
        # Behind a point or a comma stands a fraction of the hour or the minute, which nobody writes: it is refused.
        (r"T(\d{2})(\d{2})(?=[^\d:.,]|$)", "T$1:$2"),
        (r"T(\d{2})(?=[^\d:.,]|$)", "T$1:00"),
        (r"([T ]\d{1,2}:\d{2})(?=[^\d:.,]|$)", "$1:00"),  # with a zone Spark wants seconds
        (r"(:\d{2}),(\d+)", "$1.$2"),
    ):
        text = F.regexp_replace(text, compact, usual)
    return text


def _bound(value: Column, use: Callable[[Column], Column]) -> Column:
    """What `use` makes of the value, which is computed once however often it is used."""
    return F.transform(F.array(value), use)[0]


def names_zone(pattern: str) -> bool:
    """Whether a pattern reads a zone from the text."""
    return bool(set("VzOXx") & set(re.sub(r"'[^']*'", "", pattern)))


def clock_error(known_at: Column, sent_at: Column, *, max_skew: timedelta) -> Column:
    """By how many microseconds a device's clock was slow when it sent; null up to `max_skew`, or where one is unknown.

    `known_at` is the server's clock on receipt, `sent_at` the device's on sending: their difference is the error of the
    device's clock and the time on the way, which `max_skew` should exceed.
    """
    behind, most = _micros_between(sent_at, known_at), _micros(max_skew)
    return F.when((behind > most) | (behind < -most), behind)


def corrected(device_at: Column, error: Column) -> Column:
    """A device's time by the server's clock."""
    right = F.timestamp_micros(F.try_add(F.unix_micros(device_at), error))
    return F.when(error.isNotNull(), right).otherwise(device_at)


def with_device_time(attributes: Column, device_at: Column, error: Column) -> Column:
    """`attributes`, with the device's own time where its clock was wrong."""
    others = F.map_filter(F.coalesce(attributes, F.create_map().cast("map<string,string>")), _is_other)
    device_time = F.create_map(F.lit(DEVICE_TIME), F.date_format(device_at, ISO_IN_UTC))
    return F.when(error.isNotNull(), F.map_concat(others, device_time)).otherwise(attributes)


def is_impossible(occurred_at: Column, *, arrived_at: Column) -> Column:
    """Whether the time cannot be right: none at all, before online shops, or a day after the file arrived."""
    happens_later = occurred_at > arrived_at + F.expr("INTERVAL 1 DAY")
    return occurred_at.isNull() | (occurred_at < F.lit(EARLIEST)) | happens_later


def is_sent_before(device_at: Column, *, sent_at: Column, max_skew: timedelta) -> Column:
    """Whether the device claims to have sent the event before it happened: its clock was set in between."""
    return F.coalesce(_micros_between(sent_at, device_at) > _micros(max_skew), F.lit(False))


def available_at() -> Column:
    """When an event had both happened and become known: a later as_of sees the event."""
    return F.greatest("occurred_at", "known_at")


def available_on() -> Column:
    """The day of `available_at`."""
    return F.to_date(available_at())


def midnight(day: date, zone: str) -> datetime:
    """When the day begins in the zone."""
    return datetime.combine(day, time.min, tzinfo=ZoneInfo(zone))


def is_too_late(occurred_at: Column, *, known_at: Column, max_lateness: timedelta) -> Column:
    """Whether an event became known too long after it happened."""
    return _micros_between(occurred_at, known_at) > _micros(max_lateness)


def _micros_between(first: Column, last: Column) -> Column:
    # Null, not an error, where garbage taken for microseconds lies 300,000 years away.
    return F.try_subtract(F.unix_micros(last), F.unix_micros(first))


def _micros(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _is_other(name: Column, _: Column) -> Column:
    return name != DEVICE_TIME
