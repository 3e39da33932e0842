"""The hierarchy of bisecting K-Means: which half of which half each segment is."""

from collections.abc import Iterator, Mapping, Sequence

from pyspark.sql import SparkSession

from clm_spark import files
from clm_spark.models.registry.flavours import SPARK_FILES

Tree = Mapping[int, tuple[int, ...]]  # the children of each node that has some; a leaf is the number of its cluster


def saved_tree(spark: SparkSession, path: str) -> Tree:
    """The tree of a saved pipeline of bisecting K-Means: MLlib's Python model knows the leaves alone, its files the nodes.

    Inner nodes are numbered below 0. Bounded by 2 k - 1 nodes.
    """
    stages = f"{path}/{SPARK_FILES}/stages"
    stage = next(name for name in files.names_in(stages) if "BisectingKMeans" in name or "bisecting-kmeans" in name)
    nodes = spark.read.parquet(f"{stages}/{stage}/data/data").select("index", "children").collect()
    return {node["index"]: tuple(node["children"]) for node in nodes if node["children"]}


def branches_of(tree: Tree, numbers: Sequence[int]) -> dict[int, str]:
    """The branch of each segment: `1.2` is the second half of what was the first half of all; none without a tree.

    A segment's parent is its branch without the last part. Of two halves the one with the lowest segment number is
    first. `numbers` are those of the leaves 0, 1, ...
    """
    children = {child for node in tree.values() for child in node}
    roots = [node for node in tree if node not in children]
    return {numbers[leaf]: branch for root in roots for leaf, branch in _branches(tree, numbers, root, ())}


def _branches(tree: Tree, numbers: Sequence[int], node: int, parts: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    if node not in tree:
        yield node, ".".join(map(str, parts))
        return
    ordered = sorted(tree[node], key=lambda child: min(numbers[leaf] for leaf in _leaves(tree, child)))
    for place, child in enumerate(ordered, start=1):
        yield from _branches(tree, numbers, child, (*parts, place))


def _leaves(tree: Tree, node: int) -> Iterator[int]:
    if node not in tree:
        yield node
    for child in tree.get(node, ()):
        yield from _leaves(tree, child)
