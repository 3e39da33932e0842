import numpy as np
import pytest
from pyspark.ml.evaluation import ClusteringEvaluator
from pyspark.ml.linalg import Vectors

from clm_spark.evaluation.silhouette import customer_silhouette


def test_the_mean_is_that_of_mllib_and_each_that_of_the_definition(spark):
    random = np.random.default_rng(7)
    segments = np.append(random.integers(0, 4, 120) * 2, [9, 9, 5])
    points = np.append(random.normal(size=(120, 3)) + segments[:120, None], [[1, 2, 3]] * 2 + [[8, 8, 8]], axis=0)
    found = customer_silhouette(points, segments)
    rows = [(Vectors.dense(point), int(segment)) for point, segment in zip(points, segments, strict=True)]
    frame = spark.createDataFrame(rows, ["features", "prediction"])
    assert found.mean() == pytest.approx(ClusteringEvaluator().evaluate(frame), abs=1e-9)

    squared = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    for number in (0, 50, 121):
        of_segment = {s: squared[number, segments == s] for s in np.unique(segments)}
        own = of_segment.pop(segments[number])
        a, b = own.sum() / (len(own) - 1), min(others.mean() for others in of_segment.values())
        assert found[number] == pytest.approx((b - a) / max(a, b))
    assert found[122] == 0, "alone in its segment"
    assert list(customer_silhouette(points, np.zeros(123, dtype=int))) == [-1] * 123
    assert list(customer_silhouette(np.ones((4, 2)), np.array([0, 0, 1, 1]))) == [0] * 4, "all at one place"
