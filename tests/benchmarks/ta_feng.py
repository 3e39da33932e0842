"""Ta-Feng's baskets as "A Next Basket Recommendation Reality Check" (TOIS 2023) cut them, and its frequency rules."""

import gzip
from collections import Counter
from pathlib import Path

Baskets = list[list[int]]

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "tafeng"
FILE = "baskets.tsv.gz"
LONGEST = 20


def baskets_of(folder: Path) -> tuple[list[Baskets], Baskets]:
    """Every customer's known baskets, oldest first, and the last one, which is to be told."""
    known: dict[int, Baskets] = {}
    last: dict[int, list[int]] = {}
    with gzip.open(folder / FILE, "rt") as file:
        next(file)
        for line in file:
            customer, _, is_last, items = line.rstrip("\n").split("\t")
            bought = [int(item) for item in items.split()]
            if int(is_last):
                last[int(customer)] = bought
            else:
                known.setdefault(int(customer), []).append(bought)
    return [known[customer] for customer in sorted(last)], [last[customer] for customer in sorted(last)]


def rule_lists(known: list[Baskets]) -> dict[str, Baskets]:
    """What is bought most; own most frequent, of equals what was bought first; own, then what is bought most."""
    counts = Counter(item for of in known for basket in of for item in basket)
    popular = sorted(counts, key=lambda item: (-counts[item], item))
    found: dict[str, Baskets] = {"most popular": [], "own most frequent": [], "own, then popular": []}
    for of in known:
        own = [item for item, _ in Counter(item for basket in of for item in basket).most_common()]
        rest = (item for item in popular if item not in set(own))
        found["most popular"].append(popular[:LONGEST])
        found["own most frequent"].append(own[:LONGEST])
        found["own, then popular"].append(
            [*own, *(item for item, _ in zip(rest, range(LONGEST), strict=False))][:LONGEST]
        )
    return found
