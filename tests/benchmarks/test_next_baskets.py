import numpy as np
import pytest
from next_baskets import sums_of_groups

from clm_spark.evaluation.bootstrap import intervals
from clm_spark.evaluation.ranking import customer_ranking, ranking_metrics


def test_prefixes_of_a_session_are_drawn_together(spark):
    """Hits of six prefixes, four of one session: figures are means over prefixes, intervals over the three sessions."""
    groups, hits = [7, 7, 3, 7, 5, 7], [1, 1, 0, 1, 0, 0]
    truth = spark.createDataFrame([(str(n), "x") for n in range(6)], "customer_id string, item_id string")
    ranked = [("m", str(n), 1, "x" if hit else "y") for n, hit in enumerate(hits)]
    lists = spark.createDataFrame(ranked, "model string, customer_id string, rank int, item_id string")
    sample = sums_of_groups(customer_ranking(lists, truth, models=["m"]), groups)
    assert sample.num_customers == 3
    names, metrics = ("m",), ranking_metrics()
    assert sample.figures(names, ["recall_at_20"], np.ones(3)) == pytest.approx(np.mean(hits))
    # Groups stand in the order of their numbers: 3, 5, 7. The last drawn twice, the first not at all.
    assert sample.figures(names, ["recall_at_20"], np.array([0.0, 1.0, 2.0])) == pytest.approx(6 / 9)
    assert sample.figures(names, metrics, np.array([1.0, 0.0, 0.0])) == pytest.approx(np.zeros((1, len(metrics))))
    found = intervals(sample, ["recall_at_20"], replicates=4000, seed=1)["m", "recall_at_20"]
    assert (found.low, found.high) == (0, 0.75), "all draws of the session with hits, or none"
