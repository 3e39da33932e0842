"""A shop small enough to know by heart, taken through the real jobs as far as features; models' rows are made up."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from clm_spark.job import run_job
from clm_spark.jobs import (
    assign_rfm,
    assign_stages,
    build_cohorts,
    build_features,
    build_funnel,
    build_interactions,
    build_item_features,
    build_profiles,
    build_sessions,
    ingest_events,
    rank_categories,
)
from clm_spark.settings import Settings
from clm_spark.sources.rees46 import HEADER
from clm_spark.tables import catalog as t
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
NUM_CUSTOMERS, NUM_ITEMS, NUM_DAYS = 30, 12, 80
VERSION = "churn-2024-03-01"
METRICS = [  # task, model, is_baseline, is_champion, metric, value
    ("segments", "kmeans", False, True, "silhouette", 0.512),
    ("churn", "gbt", False, True, "auc", 0.861),
    ("churn", "gbt", False, True, "average_precision", 0.702),
    ("churn", "gbt", False, True, "brier", 0.1),
    ("churn", "logistic_regression", False, False, "auc", 0.848),
    ("churn", "logistic_regression", False, False, "average_precision", 0.69),
    ("churn", "recency_rule", True, False, "auc", 0.82),
    ("churn", "recency_rule", True, False, "brier", 0.15),
    ("churn", "recency_rule", True, False, "average_precision", 0.61),
    ("value", "bg_nbd", False, True, "squared_skill", 0.42),
    ("value", "bg_nbd", False, True, "normalised_gini", 0.6),
    ("value", "recent_revenue", True, False, "squared_skill", 0.35),
    ("value", "recent_revenue", True, False, "normalised_gini", 0.55),
    ("recommendation", "popularity", True, False, "recall_at_20", 0.1),
    ("recommendation", "popularity", True, False, "ndcg_at_10", 0.08),
    ("recommendation", "als", False, False, "recall_at_20", 0.14),
    ("recommendation", "als", False, False, "ndcg_at_10", 0.11),
    ("recommendation", "transformer", False, True, "recall_at_20", 0.19),
    ("recommendation", "transformer", False, True, "ndcg_at_10", 0.15),
]


@dataclass
class Truth:
    """What was put into the log."""

    num_events: int = 0
    num_recent_visits: int = 0
    num_recent_buying: int = 0
    last_purchase: str = ""


@dataclass
class SmallShop:
    """A filled lakehouse and what is known of it."""

    lake: Lake
    truth: Truth


def write_log(file: Path) -> Truth:
    """A REES46 log: visits that view, half of them put into the cart, and some of those buy."""
    drawn, truth, log = random.Random(7), Truth(), []
    for customer in range(NUM_CUSTOMERS):
        every = 2 + customer % 9
        for day in range(customer % 5, NUM_DAYS, every):
            started = AS_OF - timedelta(days=NUM_DAYS - day) + timedelta(hours=9 + customer % 8)
            item = (customer + drawn.randrange(4)) % NUM_ITEMS
            kinds = ["view"] * drawn.randint(1, 3) + ["cart"] * drawn.randint(0, 1)
            if kinds[-1] == "cart" and drawn.random() < 0.6:
                kinds.append("purchase")
            truth.num_events += len(kinds)
            truth.num_recent_visits += 1
            truth.num_recent_buying += "purchase" in kinds
            for minute, kind in enumerate(kinds):
                at = started + timedelta(minutes=minute)
                log.append(
                    f"{at:%Y-%m-%d %H:%M:%S} UTC,{kind},{1000 + item},7,kitchen.{'pan' if item % 2 else 'pot'},acme,"
                    f"{10 + item}.50,{customer},s{customer}-{day}"
                )
    truth.last_purchase = max(line for line in log if ",purchase," in line)
    file.write_text("\n".join([HEADER, *log, log[0], "2024-02-01 10:00:00 UTC,view,1001,7"]) + "\n")
    return truth


def fill(spark: SparkSession, settings: Settings) -> SmallShop:
    """Write the log to `ingest.path` and every table of the shop after it."""
    truth = write_log(Path(settings.ingest.path))
    for module in (
        ingest_events,
        build_sessions,
        build_features,
        build_item_features,
        assign_stages,
        build_cohorts,
        build_funnel,
        assign_rfm,
        build_interactions,
    ):
        name = module.__name__.removeprefix("clm_spark.jobs.")
        run_job(spark, name, module.run, settings, reads_events=module is not ingest_events)
    lake = Lake(spark, settings)
    for table, rows in model_rows(lake):
        lake.replace(rows.select(table.schema.names), into=table)
    for module in (rank_categories, build_profiles):
        run_job(spark, module.__name__.removeprefix("clm_spark.jobs."), module.run, settings)
    return SmallShop(lake, truth)


def model_rows(lake: Lake) -> list[tuple[Table, DataFrame]]:
    """What models would have written, by arithmetic one can follow."""
    features = lake.read_as_of(t.CUSTOMER_FEATURES)
    version = F.lit(VERSION).alias("model_version")
    value = F.least(F.lit(1.0), F.coalesce("purchase_recency_days", F.lit(80)) / 80).alias("value")
    decile = F.expr("CAST(ntile(10) OVER (ORDER BY coalesce(purchase_recency_days, 80) DESC, customer_id) AS INT)")
    scores = features.select("customer_id", "as_of", value, decile.alias("decile"), version).withColumns(
        {
            "score": F.lit("churn"),
            "unit": F.lit("probability"),
            "is_fallback": F.lit(False),
            "model": F.lit("gbt"),
            "label": F.lit(None).cast("string"),
            "reasons": F.lit(None).cast("array<string>"),
            **{name: F.lit(None).cast("double") for name in ("low", "high")},
        }
    )
    score = (F.col("num_orders") - 8.0).alias("score")
    is_frequent = F.when(F.col("num_orders") >= 8, 0).otherwise(1).alias("segment")
    segments = features.select("customer_id", "as_of", is_frequent, version)
    return [
        (t.CUSTOMER_SCORES, scores.select(t.CUSTOMER_SCORES.schema.names).unionByName(_values(scores))),
        (t.SEGMENTS, segments),
        (t.SEGMENT_PROFILES, _profiles(lake, features.select("*", is_frequent), version)),
        (t.SEGMENT_CHOICES, _choices(lake)),
        (t.FACTOR_LOADINGS, _loadings(lake)),
        (t.CUSTOMER_FACTORS, features.select("customer_id", "as_of", F.lit(1).alias("factor"), score)),
        (t.ITEM_RECOMMENDATIONS, _lists(lake, features, version)),
        (t.RECOMMENDATION_EXCLUSIONS, _exclusions(lake)),
        (t.ITEM_NEIGHBOURS, _neighbours(lake)),
        (t.MODEL_METRICS, _metrics(lake)),
        (t.SCORE_DECILES, _deciles(lake)),
    ]


def _values(scores):
    """Three customers in each decile; those of the first bring 1,000.00 each, those of the next 80.00 less, and so on."""
    decile = F.expr("CAST(ntile(10) OVER (ORDER BY customer_id) AS INT)")
    value = (F.lit(108_000.0) - 8_000 * F.col("decile")).alias("value")
    named = scores.withColumn("decile", decile).withColumns({"unit": F.lit("cents"), "model": F.lit("bg_nbd")})
    each = named.withColumn("score", F.explode(F.array(F.lit("value"), F.lit("lifetime_value"))))
    return each.withColumn("value", value).select(t.CUSTOMER_SCORES.schema.names)


def _profiles(lake, features, version):
    described = F.when(F.col("segment") == 0, "buys often").otherwise("buys now and then")
    total = features.agg(F.sum("net_revenue_90d_cents").alias("total"))
    return (
        features.groupBy("segment", "as_of")
        .agg(
            F.count("*").alias("num_customers"),
            F.sum("net_revenue_90d_cents").alias("revenue"),
            F.avg("purchase_recency_days").alias("mean_recency_days"),
            F.avg("num_orders_90d").alias("mean_orders_90d"),
            F.avg("net_revenue_90d_cents").alias("mean_revenue_90d_cents"),
            F.avg("discount_90d_share").alias("mean_discount_share"),
        )
        .join(total, how="cross")
        .withColumns(
            {
                "description": described,
                "name": F.when(F.col("segment") == 0, "regulars").otherwise("occasional buyers"),
                "sets_apart": F.array(F.lit("more orders (+1.0)")),
                "branch": F.lit(None).cast("string"),
                "customers_share": F.col("num_customers") / NUM_CUSTOMERS,
                "revenue_share": F.col("revenue") / F.col("total"),
            }
        )
        .select("*", version)
    )


def _choices(lake):
    rows = [
        (AS_OF.date(), f"k = {k}", k, 0.6, silhouette, stability, k == 2, VERSION)
        for k, silhouette, stability in ((2, 0.512, 0.93), (3, 0.598, 0.41))
    ]
    return lake.spark.createDataFrame(rows, t.SEGMENT_CHOICES.schema)


def _loadings(lake):
    rows = [
        (1, feature, AS_OF.date(), loading, "more orders, not a longer silence", loading / 2, 1.0, 0.5, AS_OF.date())
        for feature, loading in (("num_orders_90d", 0.9), ("purchase_recency_days", -0.7))
    ]
    return lake.spark.createDataFrame(rows, t.FACTOR_LOADINGS.schema)


def _lists(lake, features, version):
    items = lake.read_as_of(t.ITEM_VOCABULARY).where("item_index <= 6").select("item_id", "item_index")
    source = F.when(F.col("item_index") <= 4, "transformer").otherwise("popularity").alias("source")
    listed = features.select("customer_id", "as_of").join(items, how="cross")
    reason = F.lit("follows what the customer took last").alias("reason")
    rank, relevance = F.col("item_index").alias("rank"), (1 / F.col("item_index")).alias("relevance")
    place = (F.lit("home").alias("surface"), F.lit(False).alias("is_sponsored"))
    return listed.select("*", *place, rank, relevance, source, reason, version)


def _exclusions(lake):
    rows = [(AS_OF.date(), "home", "stock", 40, 9, 12), (AS_OF.date(), "email", "permission", 600, 180, NUM_CUSTOMERS)]
    return lake.spark.createDataFrame(rows, t.RECOMMENDATION_EXCLUSIONS.schema)


def _neighbours(lake):
    """The first three items beside each other, the first two the most: in the log no day of a customer has two."""
    items = lake.read_as_of(t.ITEM_VOCABULARY).where("item_index <= 3").select("item_index", "item_id")
    others = items.withColumnsRenamed({"item_index": "other_index", "item_id": "neighbour_item_id"})
    both = items.crossJoin(others).where("item_index <> other_index")
    num_days = F.when(F.col("item_index") + F.col("other_index") == 3, 6).otherwise(5)
    rank = F.when(F.col("other_index") < F.col("item_index"), F.col("other_index")).otherwise(F.col("other_index") - 1)
    figures = {
        "relation": F.lit("co_bought"),
        "rank": rank,
        "as_of": F.lit(AS_OF.date()),
        "num_days": num_days.cast("bigint"),
        "num_customers": num_days.cast("bigint"),
        "support_share": num_days / 100,
        "confidence_share": num_days / 10,
        "cosine": num_days / 10,
        "lift": num_days * 1.0,
    }
    return both.withColumns(figures)


def _metrics(lake):
    names = "task string, model string, is_baseline boolean, is_champion boolean, metric string, value double"
    tested_on = (AS_OF - timedelta(days=28)).date()
    return lake.spark.createDataFrame(METRICS, names).select(
        "*",
        F.lit(False).alias("is_incumbent"),
        F.lit(AS_OF.date()).alias("as_of"),
        F.lit(tested_on).alias("tested_on"),
        (F.col("value") - 0.02).alias("low"),
        (F.col("value") + 0.02).alias("high"),
        *(F.lit(None).cast("double").alias(name) for name in ("lead", "lead_low", "lead_high")),
        *(
            F.when(~F.col("is_champion"), value).alias(name)
            for name, value in (("behind", 0.08), ("behind_low", 0.05), ("behind_high", 0.11))
        ),
        F.lit(NUM_CUSTOMERS).cast("bigint").alias("num_tested"),
        F.lit(VERSION).alias("model_version"),
        F.lit("made up").alias("comparison"),
    )


def _deciles(lake):
    rows = [
        ("churn", model, decile, 3, p, share, share / 0.35, None, None)
        for model, steep in (("gbt", 1.0), ("recency_rule", 0.7))
        for decile in range(1, 11)
        for share in [round(0.35 + steep * (5.5 - decile) * 0.07, 4)]
        for p in [share + 0.02 if model == "gbt" else 80.0 - decile]
    ]
    rows += [
        ("value", "bg_nbd", decile, 3, None, None, came / 64_000, came + 1_000.0, came)
        for decile in range(1, 11)
        for came in [108_000.0 - 8_000 * decile]
    ]
    names = (
        "score string, model string, decile int, num_customers bigint, mean_probability double, "
        "observed_share double, lift double, mean_value double, mean_observed double"
    )
    dated = lake.spark.createDataFrame(rows, names).withColumn("as_of", F.lit(AS_OF.date()))
    tested_on = F.lit((AS_OF - timedelta(days=28)).date())
    return dated.withColumns({"tested_on": tested_on, "model_version": F.lit(VERSION)})
