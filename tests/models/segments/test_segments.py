from datetime import date, timedelta

import pytest
from leaving_customers import leaving_customers
from mlflow import pyfunc
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.models.registry import ModelVersion
from clm_spark.models.segments.chance import RandomSegments
from clm_spark.models.segments.density import DensitySegments
from clm_spark.models.segments.entrant import assigned_by
from clm_spark.models.segments.facts import read_facts
from clm_spark.models.segments.kmeans import BisectingSegments, KMeansSegments
from clm_spark.models.segments.profiles import segment_figures, segment_profiles
from clm_spark.models.segments.space import FEATURES, scaling, silhouette
from clm_spark.models.segments.task import Segmentation
from clm_spark.models.task import Inputs
from clm_spark.tables.catalog import FEATURE_DRIFT, MODEL_METRICS
from clm_spark.tables.lake import Lake

KINDS = (  # share of a hundred customers, silence in days, baskets in 90 days, cents per basket, discount
    ("weekly", 50, 3, 13, 5000, 0.1),
    ("bargain", 30, 20, 5, 2000, 0.5),
    ("gone", 20, 150, 0, 1500, None),
)


def shop(spark):
    """Three kinds of customers, a little spread out."""
    number, spread = F.substring("customer_id", 2, 4).cast("int") % 100, F.pmod(F.xxhash64("customer_id"), F.lit(100))
    kind = F.when(number < 50, 0).when(number < 80, 1).otherwise(2)

    def of_kind(place):
        return F.element_at(F.array(*(F.lit(k[place]) for k in KINDS)), kind + 1)

    customers = leaving_customers(spark, days=[date(2024, 3, 1)])
    return customers.withColumns(
        {
            "purchase_recency_days": of_kind(2).cast("bigint"),
            "num_orders_90d": of_kind(3).cast("bigint"),
            "mean_order_cents": of_kind(4) * (1 + spread / 500),
            "discount_90d_share": of_kind(5).cast("double"),
            "net_revenue_90d_cents": (of_kind(3) * of_kind(4)).cast("bigint"),
            "kind": of_kind(0),
        }
    )


def test_segments_are_fitted_on_a_schedule_or_once_when_a_feature_drifts(new_lake):
    lake = new_lake(segments={"refit_every_days": 28}, drift={"against_days": 7})
    first, task = date(2024, 3, 1), Segmentation()
    incumbent = ModelVersion("segments", "kmeans", "kmeans-1", first, "nowhere")

    def asked(days_later: int, in_use=incumbent) -> str | None:
        day = first + timedelta(days=days_later)
        return task.reason_to_train(Lake(lake.spark, lake.settings.model_copy(update={"as_of": day})), in_use)

    def compared(days_later: int) -> None:
        """A comparison that the incumbent survived."""
        as_of = first + timedelta(days=days_later)
        figure = {"task": "segments", "model": "kmeans", "model_version": "kmeans-1", "is_baseline": False,
                  "is_incumbent": True, "is_champion": True, "metric": "silhouette", "as_of": as_of, "value": 0.4,
                  "num_tested": 10, "comparison": "c"}  # fmt: skip
        rows = [tuple(figure.get(name) for name in MODEL_METRICS.schema.names)]
        lake.replace(lake.spark.createDataFrame(rows, MODEL_METRICS.schema), into=MODEL_METRICS, as_of=as_of,
                     task="segments")  # fmt: skip

    def drifts(feature: str, days_later: int) -> None:
        as_of = first + timedelta(days=days_later)
        row = {"table_name": "gold.customer_features", "feature": feature, "as_of": as_of, "compared_with": first,
               "num_rows": 9, "num_rows_before": 9, "null_share": 0.0, "null_share_before": 0.0, "psi": 3.0,
               "has_drifted": True}  # fmt: skip
        rows = [tuple(row.get(name) for name in FEATURE_DRIFT.schema.names)]
        lake.replace(lake.spark.createDataFrame(rows, FEATURE_DRIFT.schema), into=FEATURE_DRIFT, as_of=as_of)

    assert asked(5, in_use=None) == "none are in use"
    assert (asked(1), asked(27)) == (None, None)
    assert asked(28) == "the last comparison is of 2024-03-01"
    compared(28)
    assert asked(28) == "the last comparison is of 2024-03-01", "the same day again decides the same"
    assert (asked(29), asked(55)) == (None, None), "it won, and that holds for another 28 days"
    assert asked(56) == "the last comparison is of 2024-03-29"
    drifts("tenure_days", 40)
    assert asked(40) is None, "everybody grows older"
    for day in (30, 36):
        drifts("num_orders_90d", day)
    assert asked(30) is None, "the comparison two days before has seen most of it"
    assert asked(36) == "num_orders_90d drifted"


def fitted(model, customers, lake, path, *, incumbent=None):
    """The customers with the segment that the fitted model puts them into."""
    inputs = Inputs(lake, date(2024, 3, 1), customers)
    model.fit(inputs, str(path), incumbent=incumbent)
    return model.score(str(path), inputs).persist()


def kinds_of(assigned):
    """Which kinds each segment holds."""
    kinds = assigned.groupBy("segment").agg(F.sort_array(F.collect_set("kind")).alias("kinds"))
    return {row.segment: row.kinds for row in kinds.collect()}


def with_points(assigned):
    return scaling().fit(assigned).transform(assigned)


ASKED = {"k_to": 5, "starts": 1}
KINDS_BY_REVENUE = {0: ["weekly"], 1: ["bargain"], 2: ["gone"]}
NAMES = {0: "recent basket fillers", 1: "quiet bargain hunters", 2: "lapsed small spenders"}


def test_kinds_are_found_numbered_by_revenue_and_told_in_words(new_lake, tmp_path):
    lake, again = new_lake(segments=ASKED), new_lake(segments=ASKED | {"seed": 8})
    customers = shop(lake.spark).persist()
    found = fitted(KMeansSegments(), customers, lake, tmp_path / "first")
    reseeded = fitted(KMeansSegments(), customers.orderBy(F.desc("customer_id")), again, tmp_path / "reseeded")
    for assigned, folder in ((found, "first"), (reseeded, "reseeded")):
        assert kinds_of(assigned) == KINDS_BY_REVENUE
        assert read_facts(f"{tmp_path}/{folder}").names == NAMES
    by_chance = RandomSegments().score("", Inputs(lake, date(2024, 3, 1), customers))
    assert by_chance.count() == customers.count()
    assert silhouette(with_points(found)) > 0.8
    assert silhouette(with_points(by_chance)) < 0.1

    profiles = segment_profiles(found, facts=read_facts(f"{tmp_path}/first")).orderBy("segment").collect()
    assert [p.description for p in profiles] == [
        "buys about weekly, spends most, pays full price",
        "buys about every other week, spends less than most, looks for discounts",
        "has stopped buying",
    ]
    assert {p.segment: p.name for p in profiles} == NAMES
    assert [p.sets_apart[0] for p in profiles] == [
        "larger orders (+1.0)",
        "higher discounts (+1.5)",
        "less revenue (-1.9)",
    ]
    assert [round(p.customers_share, 2) for p in profiles] == [0.5, 0.3, 0.2]
    assert sum(p.revenue_share for p in profiles) == 1
    assert profiles[2].mean_discount_share is None


@pytest.mark.long
def test_numbers_and_names_in_use_stay_whichever_entrant_takes_over(new_lake, tmp_path):
    lake = new_lake(segments=ASKED)
    customers = shop(lake.spark).persist()
    fitted(KMeansSegments(), customers, lake, tmp_path / "first")
    # Later the bargain hunters spend most.
    richer = F.when(F.col("kind") == "bargain", F.lit(500_000)).otherwise(F.col("net_revenue_90d_cents"))
    later = customers.withColumn("net_revenue_90d_cents", richer.cast("bigint")).persist()
    anew = fitted(KMeansSegments(), later, lake, tmp_path / "anew")
    assert kinds_of(anew)[0] == ["bargain"]
    steps = [
        ("first", KMeansSegments(), "matched", NAMES),
        ("matched", BisectingSegments(), "halves", NAMES),
        ("halves", DensitySegments(), "dense", {**NAMES, 3: "no clear group"}),
        ("dense", KMeansSegments(), "back", NAMES),
    ]
    for before, model, folder, names in steps:
        assigned = fitted(model, later, lake, tmp_path / folder, incumbent=str(tmp_path / before))
        assert kinds_of(assigned) == KINDS_BY_REVENUE, folder
        assert read_facts(f"{tmp_path}/{folder}").names == names, folder
    branches = read_facts(f"{tmp_path}/halves").branches
    assert sorted(branches.values()) in (["1", "2.1", "2.2"], ["1.1", "1.2", "2"])
    assert read_facts(f"{tmp_path}/back").next_number == 4, "a number that was ever used is not given away"


def test_strangers_are_in_no_cluster(new_lake, tmp_path):
    lake = new_lake(segments=ASKED)
    customers = shop(lake.spark).persist()
    fitted(DensitySegments(), customers, lake, tmp_path)
    unseen = customers.withColumn("mean_order_cents", F.col("mean_order_cents") * 1.01)
    strange = unseen.limit(1).withColumns({"num_orders_90d": F.lit(2000).cast("bigint"), "kind": F.lit("stranger")})
    assigned = assigned_by(str(tmp_path), unseen.unionByName(strange))
    assert kinds_of(assigned) == {**KINDS_BY_REVENUE, 3: ["stranger"]}
    facts = read_facts(str(tmp_path))
    assert (facts.unclear, facts.names[3]) == (3, "no clear group")
    assert [each.k for each in facts.candidates if each.is_chosen] == [3]
    served = pyfunc.load_model(str(tmp_path))
    asked = unseen.select(*FEATURES).limit(40).toPandas().astype(float)
    expected = [row.segment for row in assigned_by(str(tmp_path), unseen.limit(40)).collect()]
    assert list(served.predict(asked)) == expected


def test_customers_at_too_few_points_cannot_be_segmented(lake, tmp_path):
    number = F.substring("customer_id", 2, 4).cast("bigint")
    twelve = leaving_customers(lake.spark, days=[date(2024, 3, 1)], num_customers=12).withColumns(
        {
            "purchase_recency_days": number % 3,
            "num_orders_90d": F.lit(1).cast("bigint"),
            "net_revenue_90d_cents": -number,  # below nothing, all are cut alike
        }
    )
    assert twelve.select(*FEATURES).distinct().count() == 12
    models = (KMeansSegments(), BisectingSegments(), DensitySegments())
    for model in models:
        with pytest.raises(TooLittleDataError, match="more than 3 must differ in what segments are cut by, and 3 do"):
            fitted(model, twelve, lake, tmp_path / model.name)
    four = twelve.withColumn("purchase_recency_days", number % 4)
    for model, num_segments in zip(models, (3, 3, 1), strict=True):
        assigned = fitted(model, four, lake, tmp_path / model.name)
        assert assigned.select("segment").distinct().count() == num_segments, model.name
    assert sorted(read_facts(f"{tmp_path}/bisecting_kmeans").branches.values())[0].startswith("1")
    assert len(read_facts(f"{tmp_path}/bisecting_kmeans").branches) == 3
    assert read_facts(f"{tmp_path}/kmeans").next_number == 3, "of four points no more than three segments"


def test_no_two_segments_have_the_same_words(spark):
    number = F.substring("customer_id", 2, 4).cast("bigint")
    customers = leaving_customers(spark, days=[date(2024, 3, 1), date(2024, 3, 2)], num_customers=12)
    has_bought = F.col("as_of") == "2024-03-02"  # on the first day nobody has, on the second all spent the same
    assigned = customers.withColumns(
        {
            "segment": F.when(number < 6, 0).when(number < 10, 1).when(number < 11, 2).otherwise(3),
            "purchase_recency_days": F.when(has_bought, F.lit(9)).cast("bigint"),
            "num_orders_90d": F.when(has_bought, F.when(number < 6, 20).otherwise(1)).otherwise(0).cast("bigint"),
            "net_revenue_90d_cents": F.when(has_bought, F.lit(100)).otherwise(0).cast("bigint"),
        }
    )
    told = segment_figures(assigned).orderBy("as_of", "segment").collect()
    assert [row.description for row in told] == [
        "has never bought (1 of 4 by number of customers)",
        "has never bought (2 of 4 by number of customers)",
        "has never bought (3 of 4 by number of customers)",
        "has never bought (4 of 4 by number of customers)",
        "buys once or twice a week",
        "buys rarely (1 of 3 by number of customers)",
        "buys rarely (2 of 3 by number of customers)",
        "buys rarely (3 of 3 by number of customers)",
    ]
