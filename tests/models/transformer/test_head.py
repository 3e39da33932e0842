from datetime import date

import pytest
from leaving_customers import leaving_customers
from pyspark.sql import functions as F
from sequences import DEBUG_SIZE

from clm_spark.errors import TooLittleDataError
from clm_spark.files import local_path
from clm_spark.models.churn import ChurnHead
from clm_spark.models.classifier import LABEL
from clm_spark.models.task import Inputs
from clm_spark.models.transformer import launch
from clm_spark.tables.catalog import ITEM_SEQUENCES, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

DAYS = [date(2024, 2, 2), date(2024, 1, 5)]
TODAY = date(2024, 3, 1)
NUM_ITEMS = 10


def sequences(people):
    """Whoever leaves goes down the items, and whoever stays goes up; the features say nothing."""
    start = F.pmod(F.xxhash64("customer_id", "as_of"), F.lit(NUM_ITEMS))
    step = F.when(F.col("is_churned"), -1).otherwise(1)
    items = F.transform(
        F.sequence(F.lit(0), F.lit(5)), lambda n: (F.pmod(start + n * step, F.lit(NUM_ITEMS)) + 1).cast("int")
    )
    at = F.transform("item_indices", lambda item: F.date_sub("as_of", 1).cast("timestamp"))
    found = people.select("customer_id", "as_of", items.alias("item_indices")).withColumns(
        {
            "length": F.lit(6),
            "kinds": F.array_repeat(F.lit("purchase"), 6),
            "times": at,
            "prices": F.array_repeat(F.lit(100).cast("bigint"), 6),
        }
    )
    return found.select(ITEM_SEQUENCES.schema.names)


@pytest.fixture
def lake(new_lake):
    settings = DEBUG_SIZE.model_dump() | {"epochs": 10, "repeat_memory": False, "positions": "rotary"}
    lake = new_lake(transformer=settings, evaluation={"folds": 2}, features={"sequence_kinds": ["purchase"]})
    people = leaving_customers(lake.spark, days=[*DAYS, TODAY], num_customers=120).persist()
    lake.replace(sequences(people), into=ITEM_SEQUENCES)
    known = {c.name: F.lit(None).cast(c.type) for c in ITEM_VOCABULARY.columns}
    known |= {"item_index": (F.col("id") + 1).cast("int"), "item_id": F.format_string("i%d", F.col("id") + 1)}
    days = lake.spark.range(NUM_ITEMS).withColumn("as_of", F.explode(F.array(*map(F.lit, [*DAYS, TODAY]))))
    known |= {"as_of": F.col("as_of"), "num_events": F.lit(5).cast("bigint")}
    lake.replace(days.select(*(column.alias(name) for name, column in known.items())), into=ITEM_VOCABULARY)
    return lake, people


@pytest.mark.long
def test_what_a_customer_took_in_which_order_tells_who_leaves(lake, tmp_path, monkeypatch):
    lake, people = lake
    trained_on, fit_transformer = [], launch.fit_transformer

    def fitted(*of, **asked):
        trained_on.append(asked["as_of"])
        return fit_transformer(*of, **asked)

    monkeypatch.setattr(launch, "fit_transformer", fitted)
    head, path = ChurnHead(), f"file://{tmp_path}/head"
    rows = people.where(F.col("as_of") != F.lit(TODAY)).withColumn(LABEL, F.col("is_churned").cast("double"))
    head.fit(Inputs(lake, DAYS[0], rows.drop("is_churned")), path)
    assert trained_on == [DAYS[1]], "on the first morning: of no row has the network seen what came after"
    today = people.where(F.col("as_of") == F.lit(TODAY))
    inputs = Inputs(lake, TODAY, today.drop("is_churned"))
    assert head.differs(path, inputs) is None
    answers = head.explain(path, inputs, outcome="leaving").join(today, on=["customer_id", "as_of"], how="inner")
    means = {
        row.is_churned: row
        for row in answers.groupBy("is_churned").agg(F.avg("value").alias("value"), F.count("*").alias("n")).collect()
    }
    assert means[True].n + means[False].n == 120
    # Over four seeds .78 to .85 and .15 to .23; who knows nothing of the order gives both the same.
    assert means[True].value > 0.7
    assert means[False].value < 0.3
    assert answers.where("reasons is not null").isEmpty()

    # Trained again on more rows that begin on the same morning, the network is the same one.
    again = f"file://{tmp_path}/again"
    head.fit(Inputs(lake, DAYS[0], rows.drop("is_churned")), again, holdout=path)
    assert len(trained_on) == 1
    assert (
        local_path(f"{again}/model/model.safetensors").read_bytes()
        == local_path(f"{path}/model/model.safetensors").read_bytes()
    )

    # It says why it cannot be asked about a day without sequences; today's settings need not be those it was trained by.
    wider = Lake(lake.spark, lake.settings.with_section(DEBUG_SIZE.model_copy(update={"width": 32})))
    assert head.score(path, Inputs(wider, TODAY, inputs.rows)).count() == 120
    elsewhere = Inputs(lake, TODAY, inputs.rows.withColumn("as_of", F.lit(date(2024, 3, 2))))
    assert head.differs(path, elsewhere) == "gold.item_sequences has nothing of 2024-03-02"

    # Somebody of whom no event is known gets an answer, too.
    unseen = today.limit(1).withColumn("customer_id", F.lit("new")).drop("is_churned")
    (row,) = head.score(path, Inputs(lake, TODAY, unseen)).collect()
    assert 0 < row.value < 1


def test_missing_days_of_the_panel_are_named(lake, tmp_path):
    lake, people = lake
    earlier = people.withColumn("as_of", F.date_sub("as_of", 28)).withColumn(LABEL, F.lit(1.0))
    with pytest.raises(TooLittleDataError, match=r"gold.item_sequences has nothing of 2023-12-08; set features.panel_"):
        ChurnHead().fit(Inputs(lake, DAYS[1], earlier), f"file://{tmp_path}/head")
