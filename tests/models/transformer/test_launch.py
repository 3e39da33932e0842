import mlflow
import numpy as np
import pandas as pd
import pytest
from sequences import DEBUG_SIZE, MONDAY, NUM_ITEMS, TUESDAY, cycles, write_sequences

from clm_spark.errors import ContractError, SettingsError
from clm_spark.models.transformer.launch import TrainingError, fit_transformer, fitted_ranks
from clm_spark.models.transformer.network import load_model, new_model, save_model_files
from clm_spark.models.transformer.score import score_customers_top_k, top_items


@pytest.fixture
def fit(spark, tmp_path):
    write_sequences(tmp_path / "sequences", cycles(61))

    def fit(launcher, **changes):
        settings = DEBUG_SIZE.model_copy(update={"launcher": launcher, **changes.pop("settings", {})})
        plain = {
            "location": f"file:{tmp_path}/sequences", "version": 0, "as_of": MONDAY, "num_items": NUM_ITEMS,
            "settings": settings, "model_path": f"file://{tmp_path}/{launcher}", "epochs": 2,
        }  # fmt: skip
        return fit_transformer(spark, **{**plain, **changes})

    return fit


@pytest.mark.long
def test_every_launcher_trains_the_same_model(fit, tmp_path):
    """Ranks compare their weights with rank 0's before they end; here launchers are compared with each other."""
    horovod, distributor, alone = map(fit, ("horovod", "torch_distributor", "one_process"))
    assert (horovod.ranks, distributor.ranks, alone.ranks) == (2, 2, 1)
    assert np.allclose(horovod.losses, distributor.losses, rtol=1e-4)
    for launcher, result in (("horovod", horovod), ("torch_distributor", distributor), ("one_process", alone)):
        assert result.losses[1] < result.losses[0], launcher
        assert result.num_sequences == 61, launcher
        assert load_model(str(tmp_path / launcher)).num_items == NUM_ITEMS, launcher


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Horovod's own, on failure
def test_a_rank_that_fails_says_why(fit, tmp_path):
    larger = new_model(NUM_ITEMS + 5, DEBUG_SIZE)
    save_model_files(larger.to_files(), str(tmp_path / "larger"))
    for launcher in ("horovod", "torch_distributor"):
        with pytest.raises(TrainingError, match=r"a rank of the training failed: .*knows 35 items and the vocabulary"):
            fit(launcher, start_from=str(tmp_path / "larger"), epochs=1)
        assert not (tmp_path / launcher).exists(), "nothing is written"


def test_what_cannot_be_launched_is_refused(fit):
    with pytest.raises(SettingsError, match=r"transformer.ranks=3, but Spark has 2 task slots"):
        fit("horovod", settings={"ranks": 3})
    with pytest.raises(ContractError, match="no item sequences as of 2024-02-27"):
        fit("horovod", as_of=TUESDAY)


@pytest.mark.parametrize(
    ("launcher", "asked", "slots", "num_sequences", "expected"),
    [
        ("horovod", None, 1, 61, 1),
        ("horovod", None, 2, 61, 2),
        ("torch_distributor", None, 16, 61, 2),
        ("horovod", None, 16, 1, 1),
        ("horovod", 4, 4, 61, 4),
        ("one_process", 4, 1, 61, 1),
    ],
)
def test_ranks_fit_the_slots(launcher, asked, slots, num_sequences, expected):
    settings = DEBUG_SIZE.model_copy(update={"launcher": launcher, "ranks": asked})
    assert fitted_ranks(settings, slots=slots, num_sequences=num_sequences) == expected


def test_spark_scores_as_torch_does(spark, fit, tmp_path):
    fit("one_process")
    sequences = [list(map(int, items)) for items in cycles(40, seed=9)]
    rows = spark.createDataFrame(
        [(f"c{n:02}", items) for n, items in enumerate(sequences)], "customer_id string, item_indices array<int>"
    )
    for hide_seen in (False, True):
        scored = score_customers_top_k(rows, model_path=str(tmp_path / "one_process"), top_k=5, hide_seen=hide_seen)
        assert scored.schema.simpleString() == "struct<customer_id:string,rank:int,item_index:int,relevance:double>"
        lists = {}
        for row in sorted(scored.collect(), key=lambda row: (row.customer_id, row.rank)):
            lists.setdefault(row.customer_id, []).append((row["rank"], row.item_index, row.relevance))
        items, scores = top_items(
            load_model(str(tmp_path / "one_process")), [np.array(s) for s in sequences], 5, hide_seen=hide_seen
        )
        for n in range(len(sequences)):
            ranks, indices, relevances = zip(*lists[f"c{n:02}"], strict=True)
            assert ranks == (1, 2, 3, 4, 5)
            assert list(indices) == items[n].tolist(), (n, hide_seen)
            assert np.allclose(relevances, scores[n], atol=1e-5)

    # MLflow opens the same folder by itself.
    served = mlflow.pyfunc.load_model(str(tmp_path / "one_process"))
    asked = pd.DataFrame({"customer_id": [f"c{n:02}" for n in range(40)], "item_indices": sequences})
    by_mlflow = served.predict(asked, params={"top_k": 5, "hide_seen": True})
    assert list(zip(by_mlflow["rank"], by_mlflow["item_index"], by_mlflow["relevance"], strict=True)) == [
        listed for customer in sorted(lists) for listed in lists[customer]
    ]
    assert served.metadata.get_input_schema().input_names() == ["customer_id", "item_indices"]
