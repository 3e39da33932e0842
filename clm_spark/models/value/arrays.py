"""Columns of customers many of whom are alike: what is dear to work out is worked out once for all of a kind."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def per_run(function: Callable[[Floats], Floats], values: Floats) -> Floats:
    """`function(values)`, called with one of each run of equal values: sorted values are few runs."""
    begins = np.flatnonzero(np.append(True, values[1:] != values[:-1]))[: len(values)]
    return np.repeat(function(values[begins]), np.diff(np.append(begins, len(values))))


def distinct(*columns: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """Every different row of the columns, sorted, and which of them each row is."""
    order = np.lexsort(columns[::-1])
    ordered = np.stack(columns)[:, order]
    is_new = np.append(True, np.any(ordered[:, 1:] != ordered[:, :-1], axis=0))[: len(order)]
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.cumsum(is_new) - 1
    return ordered[:, is_new], place
