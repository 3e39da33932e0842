import json
from datetime import UTC, date, datetime, time, timedelta

import pytest
from pyspark.sql import functions as F
from sequences import DEBUG_SIZE
from tiny_encoder import save_tiny_encoder

from clm_spark.errors import TooLittleDataError
from clm_spark.models.churn import ChurnHead
from clm_spark.models.task import Inputs
from clm_spark.models.transformer.model import Transformer
from clm_spark.tables.catalog import ITEM_SEQUENCES, ITEM_VOCABULARY
from clm_spark.tables.lake import Lake

NUM_CUSTOMERS = 40


def sequences_and_vocabulary(lake, as_of, indices, *, num_new=0):
    """Everyone goes round the items with these indices; no other item is in the vocabulary.

    The last events of `num_new` customers are of the day before, those of the others a month older.
    """
    day = [indices[(n + step) % len(indices)] for n in range(NUM_CUSTOMERS) for step in range(6)]
    items = [day[6 * n : 6 * n + 6] for n in range(NUM_CUSTOMERS)]
    last = [datetime.combine(as_of, time(), UTC) - timedelta(days=1 if n < num_new else 31) for n in range(len(items))]
    sequences = [(f"c{n}", as_of, of, 6, None, [last[n]] * 6, None) for n, of in enumerate(items)]
    vocabulary = [(f"i{index}", as_of, index, 9, f"shelf {index % 3}") for index in indices]
    for rows, table in ((sequences, ITEM_SEQUENCES), (vocabulary, ITEM_VOCABULARY)):
        lake.replace(lake.spark.createDataFrame(rows, table.schema), into=table, as_of=[as_of])


def test_an_item_that_retires_leaves_its_place_in_lists_to_others(new_lake, tmp_path):
    """Items 9 and 10 of 10 retire between the day that is tested and today: fine-tuning goes on, and lists stay full."""
    settings = DEBUG_SIZE.model_dump() | {"epochs": 2, "item_categories": True}
    lake = new_lake(transformer=settings, features={"sequence_kinds": ["purchase"]})
    tested_on, today = date(2024, 2, 2), date(2024, 3, 1)
    sequences_and_vocabulary(lake, tested_on, [*range(1, 11)])
    sequences_and_vocabulary(lake, today, [*range(1, 9)])
    customers = lake.read_as_of(ITEM_SEQUENCES, today).select("customer_id")
    model, holdout, path = Transformer(), f"file://{tmp_path}/holdout", f"file://{tmp_path}/model"
    model.fit(Inputs(lake, tested_on, customers), holdout)
    model.fit(Inputs(lake, today, customers), path, holdout=holdout)
    assert json.loads((tmp_path / "model/model/config.json").read_text())["num_items"] == 10
    rows = model.lists(path, Inputs(lake, today, customers), length=8).collect()
    of_each = {}
    for row in rows:
        of_each.setdefault(row.customer_id, []).append((row["rank"], int(row.item_id[1:])))
    assert len(of_each) == NUM_CUSTOMERS
    for listed in of_each.values():
        ranks, items = zip(*sorted(listed), strict=True)
        assert ranks == (1, 2, 3, 4, 5, 6, 7, 8)
        assert sorted(items) == [*range(1, 9)]


def test_a_day_costs_the_day(new_lake, tmp_path, caplog):
    """From the model in use on, if it is of these settings: a pass over those with news since; else from scratch."""
    lake = new_lake(transformer=DEBUG_SIZE.model_dump() | {"epochs": 3}, features={"sequence_kinds": ["purchase"]})
    before, yesterday, today = date(2024, 2, 2), date(2024, 2, 29), date(2024, 3, 1)
    sequences_and_vocabulary(lake, before, [*range(1, 9)])
    sequences_and_vocabulary(lake, yesterday, [*range(1, 9)])
    sequences_and_vocabulary(lake, today, [*range(1, 11)], num_new=5)
    customers = lake.read_as_of(ITEM_SEQUENCES, today).select("customer_id")
    folders = [f"file://{tmp_path}/{name}" for name in ("in_use", "tested", "next", "other")]
    in_use, tested, onward, other = folders
    caplog.set_level("INFO")
    Transformer().fit(Inputs(lake, yesterday, customers), in_use)
    Transformer().fit(Inputs(lake, before, customers), tested)
    Transformer().fit(Inputs(lake, today, customers), onward, holdout=tested, incumbent=in_use)
    slower = Lake(lake.spark, lake.settings.with_section(DEBUG_SIZE.model_copy(update={"epochs": 2, "dropout": 0.1})))
    Transformer().fit(Inputs(slower, today, customers), other, incumbent=in_use)
    told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("transformer: ")]
    assert [line.split(", ")[0] for line in told] == [
        "transformer: from scratch", "transformer: from scratch", "transformer: warm start from 2024-02-29",
        "transformer: from scratch",
    ]  # fmt: skip
    assert ["40 sequences" in line for line in told] == [True, True, False, True]
    assert ", 5 sequences, " in told[2]
    losses = [json.loads((tmp_path / name / "curves.json").read_text())["loss"] for name in ("in_use", "next", "other")]
    assert [len(each) for each in losses] == [3, 1, 2]
    assert json.loads((tmp_path / "next/model/config.json").read_text())["num_items"] == 10


@pytest.mark.parametrize("tuning", ["frozen", "lora"])
def test_settings_without_effect_are_told(new_lake, tmp_path, monkeypatch, caplog, tuning):
    texts = {"item_text": ["titel"], "text_encoder": save_tiny_encoder(tmp_path / "encoder"), "text_tuning": tuning}
    settings = DEBUG_SIZE.model_dump() | texts | {"epochs": 1, "max_length": 9}
    lake = new_lake(transformer=settings, features={"sequence_kinds": ["purchase"], "sequence_length": 8})
    sequences_and_vocabulary(lake, lake.settings.as_of, [*range(1, 11)])
    none = lake.spark.createDataFrame([], "item_index int, text string")
    monkeypatch.setattr("clm_spark.models.transformer.model.item_texts", lambda *of: none)
    customers = lake.read_as_of(ITEM_SEQUENCES).select("customer_id")
    inputs, holdout = Inputs(lake, lake.settings.as_of, customers), f"file://{tmp_path}/holdout"
    Transformer().fit(inputs, holdout)
    Transformer().fit(inputs, f"file://{tmp_path}/model", holdout=holdout)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    of_length = "transformer.max_length=9, but sequences hold 8 items at most, of which the last is what is asked for"
    of_texts = "transformer.item_text=titel, but no item has a text: expected category, brand or attributes"
    assert [sum(line.startswith(said) for line in told) for said in (of_length, of_texts)] == [1, 2]
    # Another kind than the one it knows: its number would be taken for that of a purchase.
    assert Transformer().differs(holdout, inputs) is None
    features = lake.settings.features.model_copy(update={"sequence_kinds": ("view",)})
    other = lake.settings.model_copy(update={"features": features})
    of_others = Inputs(Lake(lake.spark, other), other.as_of, customers)
    assert "trained on events of the kinds purchase, and sequences hold view" in Transformer().differs(
        holdout, of_others
    )
    for model in (Transformer(), ChurnHead()):
        assert model.settings_used(other) != model.settings_used(lake.settings)


def test_sequences_of_one_item_teach_nothing(lake, tmp_path):
    day = lake.settings.as_of
    rows = [("a", day, [1], 1, None, None, None), ("b", day, [2], 1, None, None, None)]
    lake.replace(lake.spark.createDataFrame(rows, ITEM_SEQUENCES.schema), into=ITEM_SEQUENCES)
    nobody = lake.spark.range(0).select(F.lit("").alias("customer_id"))
    with pytest.raises(TooLittleDataError, match="nobody took to two items before 2024-03-01"):
        Transformer().fit(Inputs(lake, day, nobody), f"file://{tmp_path}")
