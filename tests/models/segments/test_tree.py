from clm_spark.models.segments.tree import branches_of


def test_a_branch_says_which_half_of_which_half_a_segment_is():
    tree = {-1: (-2, 2), -2: (0, -3), -3: (3, 1)}
    assert branches_of(tree, [0, 1, 2, 3]) == {0: "1.1", 1: "1.2.1", 3: "1.2.2", 2: "2"}
    # Numbers were taken over from the segments in use: the half with the lowest number is first.
    assert branches_of(tree, [8, 5, 0, 7]) == {0: "1", 5: "2.1.1", 7: "2.1.2", 8: "2.2"}
    assert branches_of({}, [0, 1, 2]) == {}
