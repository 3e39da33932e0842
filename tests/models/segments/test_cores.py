import numpy as np
import pytest

from clm_spark.models.segments.cores import Cores, read_cores, write_cores
from clm_spark.models.segments.density import DensitySettings, cores_of, everybody_unclear
from clm_spark.models.segments.space import SCALED

AS_IT_IS = np.ones(len(SCALED))


def cloud(at, num_points, seed):
    return np.random.default_rng(seed).normal(at, 0.2, size=(num_points, len(SCALED)))


def test_unseen_points_are_in_the_cluster_of_the_nearest_core():
    far = np.random.default_rng(5).uniform(-40, 40, size=(6, len(SCALED)))
    sample = np.concatenate([cloud(0, 120, 1), cloud(5, 60, 2), far])
    cores = cores_of(sample, min_share=0.1, settings=DensitySettings(), scale=AS_IT_IS)
    assert cores.unclear == 2
    assert len(cores.points) <= 180
    first, second = (cores.assign(cloud(at, 500, seed)) for at, seed in ((0, 11), (5, 12)))
    home = np.bincount(first).argmax()
    assert (first == home).mean() > 0.97
    assert (second == 1 - home).mean() > 0.97
    between = np.full((1, len(SCALED)), 2.5)
    assert list(cores.assign(np.concatenate([between, far]))) == [2] * 7, "noise of the sample is in no cluster either"


def test_a_cluster_reaches_as_far_as_the_loosest_of_its_core_distances():
    line = np.zeros((40, len(SCALED)))
    line[:20, 0] = np.arange(20) * 0.1
    line[20:, 0] = 50 + np.arange(20) * 1.0
    cores = cores_of(line, min_share=0.25, settings=DensitySettings(min_samples=3), scale=AS_IT_IS)
    # The third neighbour, the point itself being the first, of the end of a line is two steps away.
    assert {round(reach, 6) for reach in cores.reach} == {0.2, 2.0}
    asked = np.zeros((4, len(SCALED)))
    asked[:, 0] = [-0.19, -0.21, 48.1, 47.9]
    tight, loose = cores.labels[0], cores.labels[-1]
    assert list(cores.assign(asked)) == [tight, cores.unclear, loose, cores.unclear]


def test_cores_are_stored_and_numbered(tmp_path):
    points = np.arange(12.0).reshape(2, len(SCALED))
    cores = Cores(points, np.array([1, 0]), np.array([0.5, 0.5]), 2, np.full(6, 2.0)).numbered([7, 4, 9])
    write_cores(cores, str(tmp_path))
    stored = read_cores(str(tmp_path))
    assert list(stored.assign(np.concatenate([points, points + 3]))) == [4, 7, 9, 9]
    assert list(stored.scale) == [2.0] * 6
    nobody = everybody_unclear(stored.scale)
    assert list(nobody.assign(points)) == [0, 0]


@pytest.mark.parametrize("num_points", [4, 12])
def test_a_handful_of_points_is_clustered_without_an_error(num_points):
    few = np.random.default_rng(2).normal(size=(num_points, len(SCALED)))
    cores = cores_of(few, min_share=0.01, settings=DensitySettings(), scale=AS_IT_IS)
    assert set(cores.assign(few)) <= set(range(cores.unclear + 1))
