"""Deciles and metrics of several models, by slices of the score and by a window over all customers of a model.

`python tests/benchmarks/bench_evaluation.py --customers 5e6`. Tells the seconds and how many rows the largest task read
from a shuffle: what would not fit is what one task must sort. Both must agree. Then the bootstrap, on a sample.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from bench_ingest import COMPILED, ROOT
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from clm_spark.evaluation.bootstrap import intervals
from clm_spark.evaluation.classification import classification_metrics
from clm_spark.evaluation.curves import METRICS
from clm_spark.evaluation.ranks import with_decile
from clm_spark.evaluation.samples import sampled_labels
from clm_spark.session import build_session
from clm_spark.settings import load_settings

# Probabilities, probabilities of two digits, and a rule that gives nearly everybody the same.
SCORES = {
    "smooth": "1 / (1 + exp(2 - 1.5 * happened - randn(1)))",
    "two_digits": "round(1 / (1 + exp(2 - happened - randn(2))), 2)",
    "rule": "if(rand(3) < 0.9, 0, happened + randn(3))",
}


def draw(spark: SparkSession, num_customers: float) -> DataFrame:
    customers = spark.range(int(num_customers)).selectExpr(
        "concat('c', id) AS customer_id", "CAST(rand(4) < 0.1 AS DOUBLE) AS happened"
    )
    scores = F.array(*(F.struct(F.lit(m).alias("model"), F.expr(sql).alias("score")) for m, sql in SCORES.items()))
    return customers.select("customer_id", (F.col("happened") > 0).alias("is_positive"), F.inline(scores))


def deciles_by_windows(scored: DataFrame) -> DataFrame:
    order = Window.partitionBy("model").orderBy(F.desc("score"), F.xxhash64("customer_id"), "customer_id")
    everybody = F.count("*").over(Window.partitionBy("model"))
    decile = F.floor((F.row_number().over(order) - 1) * 10 / everybody) + 1
    return scored.withColumn("decile", decile.cast("int"))


def auc_by_windows(scored: DataFrame) -> DataFrame:
    at_score = scored.groupBy("model", "score").agg(
        F.count_if("is_positive").alias("p"), F.count_if(~F.col("is_positive")).alias("n")
    )
    so_far = Window.partitionBy("model").orderBy(F.desc("score")).rowsBetween(Window.unboundedPreceding, 0)
    above = F.sum("p").over(so_far) - F.col("p") / 2
    counted = at_score.withColumn("won", above * F.col("n"))
    return counted.groupBy("model").agg((F.sum("won") / (F.sum("p") * F.sum("n"))).alias("auc"))


def measured(spark: SparkSession, name: str, work: Callable[[], object]) -> tuple[float, int]:
    """Seconds, and the rows that the task with the most of them read from a shuffle."""
    context = spark.sparkContext
    context.setJobGroup(name, name)
    begun = time.monotonic()
    work()
    seconds = time.monotonic() - begun
    jobs = [context.statusTracker().getJobInfo(job) for job in context.statusTracker().getJobIdsForGroup(name)]
    store, most = context._jsc.sc().statusStore(), 0
    for stage in {stage for job in jobs if job for stage in job.stageIds}:
        tasks = store.taskList(stage, 0, 100_000)
        for place in range(tasks.size()):
            figures = tasks.apply(place).taskMetrics()
            if figures.isDefined():
                most = max(most, figures.get().shuffleReadMetrics().recordsRead())
    return seconds, most


def written(rows: DataFrame) -> Callable[[], object]:
    return lambda: rows.write.format("noop").mode("overwrite").save()


def fingerprint(deciles: DataFrame) -> object:
    """The same for the same rows in any order."""
    return deciles.agg(F.count("*"), F.bit_xor(F.xxhash64("model", "customer_id", "decile"))).head()


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--customers", type=float, default=5e6)
    ask.add_argument("--cores", type=int, default=2)
    ask.add_argument("--memory", default="6g")
    ask.add_argument("--partitions", type=int, default=64)
    ask.add_argument("--replicates", type=int, default=500)
    asked = ask.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sets = {
            "lakehouse.path": f"{folder}/lake",
            "spark.master": f"local[{asked.cores}]",
            "spark.driver_memory": asked.memory,
            "spark.shuffle_partitions": asked.partitions,
        }
        overrides = [COMPILED, *(f"{key}={value}" for key, value in sets.items())]
        settings = load_settings("demo", as_of=date(2024, 1, 1), overrides=overrides, conf_dir=str(ROOT / "conf"))
        spark = build_session(settings, app_name="bench_evaluation")
        # As many tasks as on a cluster; on two cores Spark would make two of them.
        spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", "false")
        files = str(Path(folder, "scored"))
        draw(spark, asked.customers).write.parquet(files)
        scored = spark.read.parquet(files)
        ours, windows = with_decile(scored, score="score", within=["model"]), deciles_by_windows(scored)
        print(
            f"{asked.customers:,.0f} customers x {len(SCORES)} models, {asked.cores} cores, {asked.partitions} partitions"
        )
        for name, work in {
            "deciles by slices": written(ours),
            "deciles by windows": written(windows),
            "all metrics by slices": lambda: classification_metrics(scored).collect(),
            "AUC by windows": lambda: auc_by_windows(scored).collect(),
        }.items():
            seconds, most = measured(spark, name, work)
            print(f"  {name:24}{seconds:>8.1f} s{most:>12,} rows in the largest task", flush=True)
        if fingerprint(ours) != fingerprint(windows):
            raise SystemExit("customers are in other deciles by slices than by windows")
        auc = {row.model: row.value for row in classification_metrics(scored).where("metric = 'auc'").collect()}
        for row in auc_by_windows(scored).collect():
            if abs(row.auc - auc[row.model]) > 1e-12:
                raise SystemExit(f"AUC of {row.model}: {auc[row.model]} by slices, {row.auc} by windows")
        begun = time.monotonic()
        sample = sampled_labels(scored, seed=1)
        drawn = time.monotonic()
        intervals(sample, METRICS, replicates=asked.replicates, seed=1)
        took = time.monotonic() - drawn
        print(
            f"  sample of {sample.num_customers:,}: {drawn - begun:.1f} s; {asked.replicates} replicates: {took:.1f} s"
        )
        spark.stop()


if __name__ == "__main__":
    main()
