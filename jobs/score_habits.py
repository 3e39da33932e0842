"""customer_features -> customer_scores: how prone each customer is to refunds and to discounts."""

from clm_spark.evaluation.ranks import with_decile
from clm_spark.job import main
from clm_spark.models.habits import HABITS, habit_scores
from clm_spark.models.made_days import check_made
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_FEATURES, CUSTOMER_SCORES
from clm_spark.tables.lake import Lake


def run(lake: Lake, settings: Settings) -> None:
    """Write both scores of as_of."""
    check_made(lake, CUSTOMER_FEATURES)
    features = lake.read_as_of(CUSTOMER_FEATURES)
    for habit in HABITS:
        scored = habit_scores(features, habit=habit, settings=settings.habits)
        rows = with_decile(scored, score="value", within=["as_of"]).select(CUSTOMER_SCORES.schema.names)
        lake.replace(rows, into=CUSTOMER_SCORES, as_of=settings.as_of, score=habit)


if __name__ == "__main__":
    raise SystemExit(main(run))
