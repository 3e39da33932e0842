"""How the numbers of a column are written."""

import re
from collections.abc import Sequence
from typing import NamedTuple

MONEY = re.compile(r"^[(+-]*\D{0,4}?[+-]?[\d.,'\s]*\d[\d.,'\s]*\D{0,4}?[)-]?$")
BELOW_ZERO = re.compile(r"(?<![eE])[-\u2212\u2013(].*[1-9]|[1-9].*-$")


class NumberSigns(NamedTuple):
    """The decimal sign and that of thousands where the mapping has to name them, and what could not be decided."""

    decimal: str | None = None
    thousands: str | None = None
    question: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """As the mapping writes them."""
        return {
            name: sign for name, sign in (("decimal", self.decimal), ("thousands", self.thousands)) if sign is not None
        }


def number_signs(values: Sequence[str]) -> NumberSigns:
    """The signs of a column of numbers; none where a decimal point, or no sign at all, leaves nothing to say."""
    bare = [re.sub(r"[^\d.,]", "", text) for text in values]
    both = [text for text in bare if "." in text and "," in text]
    if both:
        decimal = max(".,", key=both[0].rfind)
        return NumberSigns(decimal, "," if decimal == "." else ".")
    for decimal, other in ((",", "."), (".", ",")):
        signed = [text for text in bare if decimal in text]
        if not signed:
            continue
        in_threes = [text for text in signed if re.match(rf"^[1-9]\d{{0,2}}(?:{re.escape(decimal)}\d{{3}})+$", text)]
        if not in_threes:
            return NumberSigns(decimal) if decimal == "," else NumberSigns()
        if len(in_threes) < len(signed):
            return NumberSigns(decimal)
        return NumberSigns(
            question=f"{in_threes[0]} may be a number of thousands (thousands: {decimal!r}) or have three decimals "
            f"(decimal: {decimal!r}, thousands: {other!r})"
        )
    return NumberSigns()


def is_below_zero(text: str) -> bool:
    """Whether a number, however it is written, is less than nothing."""
    return BELOW_ZERO.search(text) is not None
