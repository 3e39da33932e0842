"""The format of times is told by all of them, not by the first."""

from clm_spark.inspection.times import names_zone, time_formats

TIMES = [
    (["2024-02-29 12:00", "2024-03-01"], ["iso"]),
    (["2024-02-29", "2024-3-1"], ["iso"]),
    (["2024-02-29 12:00:00 Europe/Vienna", "2024-02-29T12:00:00,5+01:00"], ["iso"]),
    (["1709208000", "1709208000.5", "1.7092E9"], ["epoch_s"]),
    (["1709208000000"], ["epoch_ms"]),
    (["45351.5", "45352"], ["spreadsheet"]),
    (["1/2/2024 8:00", "13/2/2024 18:30"], ["d/M/yyyy H:mm"]),
    (["1/2/2024 8:00", "2/13/2024 18:30"], ["M/d/yyyy H:mm"]),
    (["1/2/2024", "2/3/2024"], ["d/M/yyyy", "M/d/yyyy"]),
    (["29.02.2024 12:00:05"], ["d.M.yyyy H:mm:ss"]),
    (["2/29/2024 1:05 PM"], ["M/d/yyyy h:mm a"]),
    (["2024-01-10 20"], ["yyyy-M-d H"]),
    (["20240229"], ["yyyyMMdd"]),
    (["20241329"], []),  # no month
    (["1e999"], []),
    (["noon"], []),
    ([], []),
]
ZONES = [
    ("2024-02-29T12:00:00Z", True),
    ("2024-02-29 12:00:00 UTC", True),
    ("2024-02-29T12:00+0100", True),
    ("20240229T1200-05", True),
    ("2024-02-29 12:00:00 Europe/Vienna", True),
    ("2024-02-29 12:00:00", False),
    ("2024-02-29", False),
    ("29-02-2024", False),
]


def test_formats_of_times():
    assert [(values, list(time_formats(values))) for values, _ in TIMES] == TIMES


def test_times_that_name_their_zone():
    assert [(text, names_zone(text)) for text, _ in ZONES] == ZONES
