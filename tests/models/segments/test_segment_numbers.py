import numpy as np

from clm_spark.models.segments.numbers import match_numbers


def test_clusters_take_the_number_of_the_segment_they_hold():
    turned = np.array([[1, 90, 2], [0, 5, 70], [60, 0, 3]])
    assert match_numbers(turned, (0, 1, 2)) == (2, 0, 1)
    # Both new clusters overlap segment 0 most; together more customers keep their number if the second takes 1.
    assert match_numbers(np.array([[50, 45], [0, 40]]), (0, 1)) == (0, 1)
    more = np.array([[10, 0, 80, 2], [0, 70, 0, 1]])
    assert match_numbers(more, (3, 0)) == (4, 0, 3, 5)
    fewer = np.array([[10, 0], [50, 1], [0, 40]])
    assert match_numbers(fewer, (0, 1, 2)) == (1, 2), "0 goes out of use"
    strangers = np.array([[30, 0], [20, 0]])
    assert match_numbers(strangers, (0, 1)) == (0, 2), "nobody of 1 is in the second: it is not 1"
    assert match_numbers(strangers, (0, 1), 7) == (0, 7), "2 to 6 went out of use"
    assert match_numbers(np.zeros((0, 2), dtype=int), ()) == (0, 1)
