"""The ranker on a data set that papers report: Ta-Feng's last baskets, all items ranked.

`python tests/benchmarks/bench_baskets.py --folder tafeng` reads the baskets as "A Next Basket Recommendation Reality
Check" (Li, Jullien, Ariannezhad and de Rijke 2023) cut them, and holds the frequency rules, TIFU-KNN's vectors, user
neighbours, SVD and the ranker against every customer's last basket, with that paper's metrics: NDCG's ideal list is not
cut. The ranker learns from each customer's last known baskets: for it a morning is before such a basket, and days are
baskets. Without the folder nothing is done.
"""

import argparse
from pathlib import Path

from next_baskets import as_rows, model_lists, show_figures
from ta_feng import FILE, FOLDER, baskets_of, rule_lists

from clm_spark.models.catalogue import load_settings
from clm_spark.models.ranker.settings import CandidateSettings, RankerSettings
from clm_spark.models.ranker.sources import NEAREST, NEIGHBOURS, TASTES, TRANSFORMER
from clm_spark.session import build_session

SOURCES = {"TIFU-KNN's neighbours": NEAREST, "user neighbours": NEIGHBOURS, "SVD": TASTES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="Ta-Feng's baskets.tsv.gz lies in it")
    parser.add_argument(
        "--panels", type=int, default=2, help="known baskets of each customer that the ranker learns from"
    )
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the candidates' settings")
    asked = parser.parse_args()
    if not (asked.folder / FILE).exists():
        print(f"{asked.folder} has no {FILE}: nothing is compared")
        return
    settings = load_settings("local", as_of="2024-01-01")
    spark = build_session(settings, app_name="bench-baskets")
    known, last = baskets_of(asked.folder)
    lists = {name: as_rows(spark, rows) for name, rows in rule_lists(known).items()}
    changes = dict(pair.split("=", 1) for pair in asked.set)
    plain = settings.of(CandidateSettings).model_dump() | {"reference_customers": len(known)} | changes
    candidates = CandidateSettings.model_validate(plain)
    # Everybody has two known baskets or more.
    past = [([of[:-back] for of in known], [of[-back] for of in known]) for back in range(1, asked.panels + 1)]
    lists |= model_lists(
        spark,
        past,
        known,
        references=(known, last),
        are_references=True,
        num_items=1 + max(item for baskets in (*known, last) for basket in baskets for item in basket),
        sources=SOURCES | ({"transformer": TRANSFORMER} if candidates.from_transformer else {}),
        candidates=candidates,
        ranker=settings.of(RankerSettings),
    )
    truth = as_rows(spark, last).select("customer_id", "item_id")
    show_figures(lists, truth, decides="recall_at_10", is_ideal_cut=False)


if __name__ == "__main__":
    main()
