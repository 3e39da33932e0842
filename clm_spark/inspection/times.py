"""How the times of a column are written."""

import re
from collections.abc import Callable, Iterator, Sequence

NUMBER = re.compile(r"^[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$")
ISO = re.compile(
    r"^\d{4}-\d{1,2}-\d{1,2}(?:[Tt ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?(?:[Zz]|UTC|GMT|[+-]\d{2}(?::?\d{2})?|[A-Z]\w+/[\w/+-]+))?)?$"
    r"|^\d{8}T\d{4,6}(?:Z|[+-]\d{2,4})?$"
)
ZONED = re.compile(r"[Zz]$|\d\d:\d\d.*[+-]\d\d(?::?\d\d)?$|T\d{4,6}[+-]\d{2,4}$|UTC|GMT| [A-Z]\w+/\w")
EPOCHS = (("epoch_s", 1), ("epoch_ms", 10**3), ("epoch_us", 10**6))
FIRST_SECOND, LAST_SECOND = 788_918_400, 4_102_444_800  # 1995 and 2100
SERIAL_DAYS = (34_700, 73_000)  # the same, as a spreadsheet counts
ENOUGH = 0.9
TRIED = 20  # values that show which formats are worth a look at all of them
_CLOCKS = (
    ("", ""),
    (" H", r" (?P<H>\d{1,2})"),
    (" H:mm", r" (?P<H>\d{1,2}):\d{2}"),
    (" H:mm:ss", r" (?P<H>\d{1,2}):\d{2}:\d{2}"),
    (" H:mm:ss.SSS", r" (?P<H>\d{1,2}):\d{2}:\d{2}\.\d{3}"),
    (" h:mm a", r" (?P<h>\d{1,2}):\d{2} (?:AM|PM)"),
    (" h:mm:ss a", r" (?P<h>\d{1,2}):\d{2}:\d{2} (?:AM|PM)"),
)
_PARTS = {"yyyy": r"(?P<y>\d{4})", "yy": r"(?P<y>\d{2})", "M": r"(?P<M>\d{1,2})", "d": r"(?P<d>\d{1,2})"}
_ORDERS = (("d", "M", "yyyy"), ("M", "d", "yyyy"), ("yyyy", "M", "d"), ("d", "M", "yy"), ("M", "d", "yy"))
_LIMITS = {"M": 12, "d": 31, "H": 23, "h": 12}


def time_formats(values: Sequence[str]) -> tuple[str, ...]:
    """Formats by which at least nine in ten are times; several where days and months cannot be told apart."""
    likely = [name for name, fits in FORMATS.items() if any(map(fits, values[:TRIED]))]
    shares = {name: sum(map(FORMATS[name], values)) / len(values) for name in likely}
    most = max(shares.values(), default=0.0)
    return tuple(name for name, share in shares.items() if share == most >= ENOUGH)


def names_zone(text: str) -> bool:
    """Whether a time says of which zone it is."""
    return ZONED.search(text) is not None


def _between(low: int, high: int) -> Callable[[str], bool]:
    return lambda text: NUMBER.match(text) is not None and low <= float(text) <= high


def _dates(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)

    def fits(text: str) -> bool:
        found = compiled.match(text)
        return found is not None and all(int(found[part]) <= _LIMITS.get(part, 9999) for part in found.groupdict())

    return fits


def _formats() -> Iterator[tuple[str, Callable[[str], bool]]]:
    yield "iso", lambda text: ISO.match(text) is not None
    for name, unit in EPOCHS:
        yield name, _between(FIRST_SECOND * unit, LAST_SECOND * unit)
    yield "spreadsheet", _between(*SERIAL_DAYS)
    for order in _ORDERS:
        for sign in ("/", ".", "-"):
            day = re.escape(sign).join(_PARTS[part] for part in order)
            for clock, pattern in _CLOCKS:
                is_iso = order[0] == "yyyy" and sign == "-" and clock not in (" H", " h:mm a", " h:mm:ss a")
                if not is_iso:
                    yield sign.join(order) + clock, _dates(f"^{day}{pattern}$")
    yield "yyyyMMdd", _dates(r"^(?:19|20)\d\d(?P<M>[01]\d)(?P<d>[0-3]\d)$")


FORMATS = dict(_formats())
