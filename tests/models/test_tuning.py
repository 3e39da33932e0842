"""What a grid leaves open is chosen by later days, from what earlier ones taught."""

from datetime import date, timedelta

import pytest
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError
from clm_spark.models.catalogue import settings_from
from clm_spark.models.churn import ChurnTree
from clm_spark.models.classifier import LABEL
from clm_spark.models.customer_inputs import FEATURES
from clm_spark.models.task import Inputs
from clm_spark.models.trees import DecisionTreeSettings

AS_OF, STEP = date(2024, 3, 1), timedelta(days=28)
DAYS = [AS_OF - STEP * back for back in range(2, 5)]  # of a horizon of 56 days; the last can be tried after the first


def panel(spark, days, *, kinds_on_last=2):
    """Customers of whom leave who are silent and bought little: one question is not enough to see who."""
    silent, few = (F.col("id") % 3 == 0), (F.col("id") % 2 == 0)
    leaves = F.when(F.col("as_of") == days[0], silent & few).otherwise(silent & few & F.lit(kinds_on_last == 2))
    known = {
        "purchase_recency_days": F.when(silent, 60).otherwise(5).cast("bigint"),
        "num_orders_90d": F.when(few, 1).otherwise(9).cast("bigint"),
    }
    rows = spark.range(600).withColumn("as_of", F.explode(F.array(*map(F.lit, days))))
    rest = {name: F.lit(1.0) for name in FEATURES if name not in known}
    customer = F.format_string("c%03d", "id")
    return rows.withColumns({"customer_id": customer, LABEL: leaves.cast("double"), **known, **rest})


@pytest.mark.parametrize(
    ("days", "kinds_on_last", "grid", "chosen", "said"),
    [
        (
            DAYS[::-1],
            2,
            [1, 3],
            3,
            "churn by decision_tree takes max_depth 3: mean average precision 1.0000 on 1 later days",
        ),
        (DAYS[::-1], 2, [3, 4], 3, "takes max_depth 3"),  # level: the first
        (DAYS[:2], 2, [1, 3], 4, "no panel day can be tried on"),  # 28 days apart: none had ended; the section's own
        (DAYS[::-1], 1, [1, 3], 4, "no panel day can be tried on"),  # nobody leaves later
        (DAYS[::-1], 2, [2], 2, None),  # nothing to choose
    ],
)
def test_the_grid_is_decided_by_days_whose_teachers_had_ended(
    spark, new_lake, caplog, days, kinds_on_last, grid, chosen, said
):
    lake = new_lake(decision_tree={"grid": {"max_depth": grid}})
    inputs = Inputs(lake, AS_OF, panel(spark, days, kinds_on_last=kinds_on_last))
    with caplog.at_level("INFO"):
        found = ChurnTree().tuned(inputs).of(DecisionTreeSettings)
    assert found.max_depth == chosen
    assert not found.grid
    assert (said in caplog.text) if said else not caplog.text
    assert lake.settings.of(DecisionTreeSettings).max_depth == 4, "settings are as they were"


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (
            {"depth": [1]},
            "grid names 'depth', which is no setting of decision_tree: expected one of max_depth, min_leaf_customers",
        ),
        ({"max_depth": [0]}, "grid: Input should be greater than or equal to 1"),
        ({"max_depth": [2.5]}, "grid: Input should be a valid integer"),
        ({"max_depth": []}, "grid has no value for max_depth"),
        ({"max_depth": list(range(1, 11)), "seed": list(range(6))}, "grid has 60 combinations: expected at most 50"),
    ],
)
def test_a_grid_that_cannot_be_tried_is_refused_before_anything_runs(grid, message):
    with pytest.raises(SettingsError, match="decision_tree") as refused:
        settings_from({"as_of": AS_OF, "decision_tree": {"grid": grid}})
    assert message in str(refused.value)
