"""The ranker on sessions: which item of Retailrocket is viewed next, all items ranked.

`python tests/benchmarks/bench_next_item.py --folder retailrocket_sessions` reads sessions of views, and holds popularity,
the session's own items, item neighbours (viewed next), neighbouring sessions and the ranker against the item that follows
each prefix of the test sessions. The ranker learns from training sessions, cut before their last views: for it a session
is a customer, and a view a basket. Without the folder nothing is done.
"""

import argparse
import gzip
from collections import Counter
from pathlib import Path

from next_baskets import LONGEST, as_rows, model_lists, show_figures

from clm_spark.models.catalogue import load_settings
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.models.ranker.sources import NEIGHBOURS, NEXT
from clm_spark.session import build_session

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "retailrocket_sessions"
TRAIN, TEST = "train-sessions.txt.gz", "test.tsv.gz"
Views = list[int]


def training_sessions(folder: Path) -> list[Views]:
    with gzip.open(folder / TRAIN, "rt") as file:
        return [[int(item) for item in line.split()] for line in file if line.strip()]


def test_prefixes(folder: Path) -> tuple[list[Views], Views, list[int]]:
    """What was viewed so far, oldest first, what was viewed next, and the session: its prefixes are not independent."""
    with gzip.open(folder / TEST, "rt") as file:
        next(file)
        rows = [line.rstrip("\n").split("\t") for line in file]
    views = [[int(item) for item in prefix.split()] for _, prefix, _, _ in rows]
    return views, [int(row[2]) for row in rows], [int(row[0]) for row in rows]


def popular(sessions: list[Views]) -> Views:
    counts = Counter(item for session in sessions for item in session)
    return sorted(counts, key=lambda item: (-counts[item], item))[:LONGEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"{TRAIN} and {TEST} lie in it")
    parser.add_argument("--panels", type=int, default=2, help="last views of a session that the ranker learns from")
    parser.add_argument(
        "--references", type=int, default=126_168, help="sessions among which neighbours are looked for"
    )
    asked = parser.parse_args()
    if not (asked.folder / TEST).exists():
        print(f"{asked.folder} has no {TEST}: nothing is compared")
        return
    settings = load_settings("local", as_of="2024-01-01")
    spark = build_session(settings, app_name="bench-next-item")
    sessions = training_sessions(asked.folder)
    prefixes, targets, owners = test_prefixes(asked.folder)
    best = popular(sessions)
    lists = {
        "popularity": as_rows(spark, [best] * len(prefixes)),
        "last viewed first": as_rows(spark, [list(dict.fromkeys(reversed(views)))[:LONGEST] for views in prefixes]),
    }
    past = []
    for back in range(1, asked.panels + 1):
        long_enough = [session for session in sessions if len(session) > back]
        past.append(([[[i] for i in session[:-back]] for session in long_enough], [[s[-back]] for s in long_enough]))
    lists |= model_lists(
        spark,
        past,
        [[[item] for item in views] for views in prefixes],
        references=([[[item] for item in session] for session in sessions], [[] for _ in sessions]),
        are_references=False,
        num_items=1 + max(item for views in (*sessions, *prefixes, targets) for item in views),
        sources={"viewed next": NEXT, "neighbouring sessions": NEIGHBOURS},
        candidates=settings.of(CandidateSettings).model_copy(update={"reference_customers": asked.references}),
        ranker=settings.of(RankerSettings),
    )
    truth = as_rows(spark, [[item] for item in targets]).select("customer_id", "item_id")
    show_figures(lists, truth, decides="recall_at_20", is_ideal_cut=True, groups=owners)


if __name__ == "__main__":
    main()
