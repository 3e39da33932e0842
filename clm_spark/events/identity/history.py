"""Who was whom on every day: the persons among linked ids, replayed over time."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyspark.sql import DataFrame

Numbers = npt.NDArray[np.int64]
NEVER = 1 << 40  # a day
CHANGES = "node bigint, known_day bigint, person bigint, first_node bigint, num_ids bigint, is_cut_off boolean"


def person_changes(links: DataFrame, *, since: int, max_ids: int) -> DataFrame:
    """One row per node and day from `since` on that made it another person's, or cut it off: see `CHANGES`.

    A link of nodes `a` and `b` holds from `known_day` until before `dropped_day`, in days since 1970 or `NEVER`;
    `component` is the same for whatever is ever linked. A person is the smallest node among those linked; nodes among
    more than `max_ids` are cut off: each is its own person. `first_node` is the smallest of them either way.
    """
    replayed = partial(_replayed, since=since, max_ids=max_ids)
    # Each component whole in one task, which replays all of its own day by day with arrays.
    return links.repartition("component").mapInPandas(replayed, CHANGES)


def _replayed(batches: Iterator[pd.DataFrame], *, since: int, max_ids: int) -> Iterator[pd.DataFrame]:
    arrived = [batch for batch in batches if len(batch)]
    if not arrived:
        return
    history = _History.of(pd.concat(arrived), max_ids=max_ids)
    history.move_to(since - 1, np.unique(history.group))
    days = np.unique(np.concatenate([history.known, history.dropped]))
    for day in days[(days >= since) & (days < NEVER)]:
        moved = history.group[(history.known == day) | (history.dropped == day)]
        yield history.move_to(int(day), np.unique(moved))


@dataclass
class _History:
    """The links of one task and, by place in `nodes`, the persons of the day it was moved to."""

    nodes: Numbers
    a: Numbers
    b: Numbers
    known: Numbers
    dropped: Numbers
    group: Numbers  # of each link
    group_of: Numbers  # of each node
    max_ids: int
    person: Numbers = field(init=False)
    is_cut_off: npt.NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.person = np.arange(len(self.nodes))
        self.is_cut_off = np.zeros(len(self.nodes), dtype=bool)

    @classmethod
    def of(cls, links: pd.DataFrame, *, max_ids: int) -> "_History":
        nodes, places = np.unique(links[["a", "b"]].to_numpy().T, return_inverse=True)
        a, b = places.reshape(2, -1)
        _, group = np.unique(links["component"].to_numpy(), return_inverse=True)
        group_of = np.empty(len(nodes), dtype=np.int64)
        group_of[a], group_of[b] = group, group
        known, dropped = links["known_day"].to_numpy(), links["dropped_day"].to_numpy()
        return cls(nodes, a, b, known, dropped, group, group_of, max_ids)

    def move_to(self, day: int, groups: Numbers) -> pd.DataFrame:
        """Move the groups to that day; gives what changed."""
        is_moved = np.zeros(self.group.max() + 1, dtype=bool)
        is_moved[groups] = True
        holds = is_moved[self.group] & (self.known <= day) & (day < self.dropped)
        first = smallest_reached(len(self.nodes), self.a[holds], self.b[holds])
        num_ids = np.bincount(first, minlength=len(first))[first]
        is_cut_off = num_ids > self.max_ids
        person = np.where(is_cut_off, np.arange(len(first)), first)
        changed = np.flatnonzero(is_moved[self.group_of] & ((person != self.person) | (is_cut_off != self.is_cut_off)))
        self.person[changed], self.is_cut_off[changed] = person[changed], is_cut_off[changed]
        return pd.DataFrame(
            {
                "node": self.nodes[changed],
                "known_day": day,
                "person": self.nodes[person[changed]],
                "first_node": self.nodes[first[changed]],
                "num_ids": num_ids[changed],
                "is_cut_off": is_cut_off[changed],
            }
        )


def smallest_reached(num_nodes: int, a: Numbers, b: Numbers) -> Numbers:
    """For each of the nodes 0, 1, ... the smallest that the edges a-b lead to, itself where none does."""
    label = np.arange(num_nodes)
    while True:
        least = np.minimum(label[a], label[b])
        if np.array_equal(label[a], least) and np.array_equal(label[b], least):
            return label
        # The smaller label goes to both ends' labels, then every node takes its label's label: chains halve each round.
        for end in (a, b):
            np.minimum.at(label, label[end], least)
            np.minimum.at(label, end, least)
        label = label[label]
