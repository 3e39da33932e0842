"""How well each customer sits in its segment."""

import numpy as np
from numpy.typing import NDArray


def customer_silhouette(points: NDArray[np.float64], segments: NDArray[np.integer]) -> NDArray[np.float64]:
    """The silhouette of each point over squared Euclidean distances, -1 to 1; all -1 where there is one segment only.

    (b - a) / max(a, b), a being the mean distance to the others of its segment and b that to the nearest other segment
    (Rousseeuw 1987); 0 for a segment's only point. The mean squared distance to a segment follows from its size, sum
    and sum of squared norms, as in MLlib's `ClusteringEvaluator`: the work is points x segments, not points squared.
    """
    numbers, own = np.unique(segments, return_inverse=True)
    if len(numbers) < 2:
        return np.full(len(points), -1.0)
    sizes = np.bincount(own).astype(float)
    sums = np.stack([np.bincount(own, column) for column in points.T], axis=1)
    norms = np.einsum("pd,pd->p", points, points)
    means = norms[:, None] + (np.bincount(own, norms) - 2 * points @ sums.T) / sizes
    everyone = np.arange(len(points))
    of_own = means[everyone, own] * sizes[own] / np.maximum(sizes[own] - 1, 1)  # the point itself is at distance 0
    means[everyone, own] = np.inf
    nearest = means.min(axis=1)
    longer = np.maximum(of_own, nearest)
    values = np.divide(nearest - of_own, longer, out=np.zeros(len(points)), where=longer > 0)
    return np.where(sizes[own] == 1, 0.0, values)
