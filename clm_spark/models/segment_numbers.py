"""Which number a segment keeps when segments are fitted again."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def match_numbers(overlap: NDArray[np.integer], in_use: Sequence[int], first_free: int = 0) -> tuple[int, ...]:
    """The number of each new cluster: that of the segment in use whose customers it holds.

    `overlap` has a row per number of `in_use` and a column per new cluster: how many customers are in both. Pairs are
    chosen so that as many customers as possible keep their number (Kuhn 1955). A cluster that shares nobody with what
    is left gets the next free number, above all in use and from `first_free` on: a number that goes out of use is not given to
    other people.
    """
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    matched = {int(new): in_use[old] for old, new in zip(rows, columns, strict=True) if overlap[old, new] > 0}
    free = itertools.count(max([first_free, *(number + 1 for number in in_use)]))
    return tuple(matched[new] if new in matched else next(free) for new in range(overlap.shape[1]))
