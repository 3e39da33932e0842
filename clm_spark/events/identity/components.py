"""Connected components of a graph too large for one machine."""

import logging

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from clm_spark.errors import ContractError

log = logging.getLogger(__name__)
MAX_ROUNDS = 50  # log2 of the nodes, squared, is the proven bound; a few are the rule


def components(edges: DataFrame) -> DataFrame:
    """One row per node: `node` and `component`, the smallest node that can be reached from it.

    Needs `a` and `b`, whole numbers; each edge joins two different nodes. Alternates large and small stars (Kiveris et
    al., Connected Components in MapReduce and Beyond, SoCC 2014), which needs few rounds for long chains as well. Each
    round is computed at once and checkpointed on the executors; only counts come to the driver.
    """
    stars, before = edges, (-1, 0)
    for number in range(1, MAX_ROUNDS + 1):
        # Without a cut the plan of each round would hold all those before it.
        stars = _small_stars(_large_stars(stars)).localCheckpoint()
        came = stars.agg(F.count("*"), F.coalesce(F.bit_xor(F.xxhash64("a", "b")), F.lit(0))).head()
        assert came is not None
        if tuple(came) == before:
            log.info("components: %d rounds, %s nodes beside the first of each", number, f"{before[0]:,}")
            centres = stars.select(F.col("b").alias("node"), F.col("b").alias("component")).distinct()
            return stars.select(F.col("a").alias("node"), F.col("b").alias("component")).unionAll(centres)
        before = tuple(came)
    raise ContractError(
        f"the components of {before[0]:,} links were not found in {MAX_ROUNDS} rounds: expected them to settle in a "
        "few; nothing was written: run the job again, and report this if it comes back"
    )


def _large_stars(edges: DataFrame) -> DataFrame:
    """Every node hands its larger neighbours to the smallest of its neighbourhood; `a` is larger than `b`."""
    both = edges.select("a", "b").unionAll(edges.select(F.col("b").alias("a"), F.col("a").alias("b")))
    smallest = F.least("a", F.min("b").over(Window.partitionBy("a")))
    return both.withColumn("m", smallest).where("b > a").select(F.col("b").alias("a"), F.col("m").alias("b"))


def _small_stars(edges: DataFrame) -> DataFrame:
    """Every node hands its smaller neighbours, and itself, to the smallest of them."""
    nearest = edges.withColumn("m", F.min("b").over(Window.partitionBy("a")))
    handed = nearest.select(F.explode(F.array("a", "b")).alias("a"), F.col("m").alias("b"))
    return handed.where("a != b").distinct()
