import json
import os
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from pyspark.resource import ExecutorResourceRequests, ResourceProfileBuilder, TaskResourceRequests
from sequences import DEBUG_SIZE, FIRST_AT, KINDS, MONDAY, NUM_ITEMS, TUESDAY, cycles, write_sequences

from clm_spark.errors import ContractError, SettingsError, UserError
from clm_spark.models.transformer import launch
from clm_spark.models.transformer.launch import (
    FAILURE_MARK,
    HorovodRanks,
    chosen_gpu,
    fit_transformer,
    fitted_ranks,
    reason_of_ranks,
    task_slots,
)
from clm_spark.models.transformer.network import load_model, new_model, save_model_files
from clm_spark.models.transformer.score import score_all, score_customers_top_k, top_items
from clm_spark.models.transformer.task import TrainingError
from clm_spark.side_by_side import run_graph
from clm_spark.signals import Stopped, stopped_by_signals


@pytest.fixture
def fit(spark, tmp_path):
    write_sequences(tmp_path / "sequences", cycles(61))

    def fit(launcher, **changes):
        ranks = None if launcher == "one_process" else 2
        asked = {"launcher": launcher, "ranks": ranks, **changes.pop("settings", {})}
        settings = DEBUG_SIZE.model_copy(update=asked)
        plain = {
            "location": f"file:{tmp_path}/sequences", "version": 0, "as_of": MONDAY, "num_items": NUM_ITEMS,
            "kinds": KINDS, "settings": settings, "epochs": 2,
            "model_path": f"file://{tmp_path}/{launcher}", "checkpoints": f"file://{tmp_path}/{launcher}-checkpoints",
        }  # fmt: skip
        return fit_transformer(spark, **{**plain, **changes})

    return fit


@pytest.mark.long
def test_every_launcher_trains_the_same_model(fit, tmp_path):
    """Two ranks of each launcher and one process: the same batches, so the same losses, validation and scores."""
    asked = {"settings": {"patience": 3, "validation_share": 0.3}, "epochs": 3, "num_items": 200}  # most never taken
    horovod, distributor, alone = (fit(name, **asked) for name in ("horovod", "torch_distributor", "one_process"))
    assert (horovod.ranks, distributor.ranks, alone.ranks) == (2, 2, 1)
    unseen = [np.array(items[-DEBUG_SIZE.max_length :]) for items in cycles(40, seed=9)]
    expected = score_all(load_model(str(tmp_path / "one_process")), unseen)
    assert alone.losses[2] < alone.losses[0]
    for launcher, result in (("horovod", horovod), ("torch_distributor", distributor)):
        assert np.allclose(result.losses, alone.losses, rtol=1e-4), launcher
        assert np.allclose(result.ndcgs, alone.ndcgs, atol=0.02), launcher
        assert result.num_sequences == 61, launcher
        assert torch.allclose(score_all(load_model(str(tmp_path / launcher)), unseen), expected, atol=0.05), launcher


RANKS = {"horovod": ("cmdline", b"horovod.spark.task"), "torch_distributor": ("environ", b"\0LOCAL_RANK=")}


def rank_processes(launcher: str) -> list[int]:
    """The ranks that the launcher started on this machine."""
    file, sign = RANKS[launcher]
    found = []
    for process in Path("/proc").glob(f"[0-9]*/{file}"):
        with suppress(OSError):
            if sign in process.read_bytes():
                found.append(int(process.parent.name))
    return found


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Horovod's own, on failure
@pytest.mark.parametrize("launcher", ["horovod", "torch_distributor"])
def test_a_killed_rank_fails_the_training_which_goes_on_when_run_again(fit, tmp_path, launcher):
    """Within a minute and in one line; the second run begins after the last checkpoint and ends as one undisturbed."""
    asked = {"settings": {"dropout": 0.2}, "epochs": 40}
    undisturbed = fit("torch_distributor", checkpoints=f"file://{tmp_path}/undisturbed", **asked)
    shutil.rmtree(tmp_path / "torch_distributor")
    killed_at = []

    def kill():
        while not list(tmp_path.glob(f"{launcher}-checkpoints/*/epoch-?.pt")):
            time.sleep(0.01)
        os.kill(max(rank_processes(launcher)), signal.SIGKILL)
        killed_at.append(time.monotonic())

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(TrainingError, match=r"^a rank of the training failed: [^\n]+$"):
        fit(launcher, **asked)
    killer.join()
    assert time.monotonic() - killed_at[0] < 60
    assert not (tmp_path / launcher).exists(), "no half model"
    (kept,) = tmp_path.glob(f"{launcher}-checkpoints/*/epoch-*.pt")
    again = fit(launcher, **asked)
    assert np.allclose(again.losses, undisturbed.losses, rtol=1e-3)
    assert not kept.parent.exists(), "checkpoints go when the training ends"


def test_horovod_leaves_signals_to_us_and_trains_in_any_thread(fit):
    """Jobs side by side run in threads; and a run that has trained has its handlers of signals as before."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in signals]
    with ThreadPoolExecutor(1) as thread:
        beside = thread.submit(fit, "horovod", epochs=1).result()
    alone = fit("horovod", epochs=1)
    assert [signal.getsignal(number) for number in signals] == before
    assert beside.ranks == alone.ranks == 2
    assert beside.losses == alone.losses


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Horovod's own, on failure
@pytest.mark.parametrize(
    ("launcher", "parallel"), [("horovod", 1), ("horovod", 2), ("one_process", 1), ("one_process", 2)]
)
def test_a_signal_stops_a_training(spark, fit, tmp_path, launcher, parallel):
    """In the main thread, and in one of jobs that run side by side."""
    checkpoints = tmp_path / f"{launcher}-checkpoints"

    def stop_it() -> None:
        while not list(checkpoints.rglob("epoch-*.pt")):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)
        times.append(time.monotonic())

    times: list[float] = []
    watcher = threading.Thread(target=stop_it, daemon=True)
    watcher.start()
    with pytest.raises(Stopped) as end, stopped_by_signals(spark):
        run_graph({"train": ()}, lambda _: bool(fit(launcher, epochs=5000)), parallel=parallel)
    assert end.value.code == 143
    while rank_processes("horovod") and time.monotonic() - times[0] < 60:
        time.sleep(0.1)
    assert rank_processes("horovod") == []
    assert time.monotonic() - times[0] < 60
    assert list(checkpoints.rglob("epoch-*.pt")), "from which it goes on"


@pytest.mark.parametrize(
    ("addresses", "local_rank", "num_gpus", "expected"),
    [((), 0, 0, None), ((), 1, 4, 1), ((), 3, 4, 3), (("3",), 0, 4, 3), (("2", "3"), 1, 4, 2)],
)
def test_a_rank_takes_the_gpu_of_its_task(addresses, local_rank, num_gpus, expected):
    assert chosen_gpu(addresses, local_rank=local_rank, num_gpus=num_gpus, num_ranks=4) == expected


def test_ranks_do_not_share_a_gpu():
    with pytest.raises(TrainingError, match="2 ranks on a machine with 1 GPUs, and each needs its own"):
        chosen_gpu((), local_rank=0, num_gpus=1, num_ranks=2)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # Horovod's own, on failure
def test_a_rank_that_fails_says_why(fit, tmp_path):
    larger = new_model(NUM_ITEMS + 5, DEBUG_SIZE, kinds=KINDS)
    save_model_files(larger.to_files(), str(tmp_path / "larger"))
    for launcher in ("horovod", "torch_distributor"):
        with pytest.raises(TrainingError, match=r"a rank of the training failed: .*knows 35 items and would know 30"):
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
        ("horovod", None, 0, 61, 1),
        ("one_process", 1, 0, 61, 1),
    ],
)
def test_ranks_fit_the_slots(launcher, asked, slots, num_sequences, expected):
    settings = DEBUG_SIZE.model_copy(update={"launcher": launcher, "ranks": asked})
    assert fitted_ranks(settings, slots=slots, num_sequences=num_sequences) == expected


def test_slots_are_those_of_spark(spark):
    assert task_slots(spark) == 2, "local[2]"


@pytest.mark.parametrize(
    ("of_executor", "of_task", "master", "is_dynamic", "expected"),
    [
        ({"cores": 4}, {"cpus": 2}, "yarn", True, 5 * 2),
        ({"cores": 3}, {"cpus": 2}, "yarn", True, 5 * 1),
        ({"cores": 8, "gpu": 1}, {"cpus": 1, "gpu": 1}, "yarn", True, 5 * 1),
        ({"cores": 8, "gpu": 2}, {"cpus": 1, "gpu": 0.5}, "yarn", True, 5 * 4),
        ({"cores": 4}, {"cpus": 1}, "yarn", False, 7),
        ({"cores": 4}, {"cpus": 1}, "local[2]", True, 7),
    ],
)
def test_slots_are_those_of_the_executors_that_may_come(spark, of_executor, of_task, master, is_dynamic, expected):
    """Spark counts those of an executor. A session stands in for one whose executors come and go: 5 at most, 7 slots now."""
    executor = ExecutorResourceRequests().cores(of_executor["cores"])
    task = TaskResourceRequests().cpus(of_task["cpus"])
    if "gpu" in of_executor:
        executor, task = executor.resource("gpu", of_executor["gpu"]), task.resource("gpu", of_task["gpu"])
    profile = ResourceProfileBuilder().require(executor).require(task).build._java_resource_profile
    conf = spark.sparkContext._jsc.sc().conf().clone()
    conf.set("spark.executor.cores", str(of_executor["cores"])).set("spark.dynamicAllocation.maxExecutors", "5")
    conf.set("spark.dynamicAllocation.enabled", str(is_dynamic).lower())
    context = SimpleNamespace(
        conf=lambda: conf,
        resourceProfileManager=lambda: SimpleNamespace(defaultResourceProfile=lambda: profile),
        maxNumConcurrentTasks=lambda of: 7 if of is profile else 0,
    )
    session = SimpleNamespace(sparkContext=SimpleNamespace(master=master, _jsc=SimpleNamespace(sc=lambda: context)))
    assert task_slots(session) == expected


def said(text):
    return f"[1]<stderr>:{FAILURE_MARK}{json.dumps(text)}"


@pytest.mark.parametrize(
    ("output", "error", "expected"),
    [
        ("", RuntimeError("all is over\nrank 1 died\n"), "rank 1 died"),
        ("", RuntimeError(), "RuntimeError"),
        (said("OSError: a\nb") + "\nmore", RuntimeError("over"), "OSError: a\nb"),
        (said("E: Connection reset by peer") + said("E: why") + "\n", RuntimeError("over"), "E: why"),
        ("", RuntimeError(said("E: by TorchDistributor")), "E: by TorchDistributor"),
        (f'{FAILURE_MARK}"E: cut o', RuntimeError("over"), '"E: cut o'),
        (FAILURE_MARK, RuntimeError("over"), "over"),
    ],
)
def test_the_reason_is_what_the_first_rank_said(output, error, expected):
    assert reason_of_ranks(output, error) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("no memory\nin line 2"), "a rank of the training failed: RuntimeError: no memory"),
        (KeyError(), "a rank of the training failed: KeyError"),
        (ContractError("no sequences"), "no sequences"),
    ],
)
def test_what_goes_wrong_in_one_process_is_named(fit, tmp_path, monkeypatch, error, expected):
    def fails(*of):
        raise error

    monkeypatch.setattr("clm_spark.models.transformer.launch.train", fails)
    with pytest.raises(UserError) as raised:
        fit("one_process")
    assert str(raised.value) == expected
    assert raised.value is error or raised.value.__cause__ is error


def test_a_process_trains_one_at_a_time_each_with_checkpoints_of_its_own(fit, tmp_path, monkeypatch):
    write_sequences(tmp_path / "sequences", cycles(20), TUESDAY)  # version 1
    alone, running, numbers, folders = launch._LAUNCHERS["one_process"], [], [], set()

    def watched(spark, task, ranks):
        running.append(task)
        numbers.append(len(running))
        folders.add(task.checkpoints)
        time.sleep(0.5)
        try:
            return alone(spark, task, ranks)
        finally:
            running.remove(task)

    monkeypatch.setitem(launch._LAUNCHERS, "one_process", watched)
    with ThreadPoolExecutor(2) as threads:
        both = [
            threads.submit(
                fit, "one_process", epochs=1, version=1, as_of=as_of, model_path=f"file://{tmp_path}/{as_of}"
            )
            for as_of in (MONDAY, TUESDAY)
        ]
        assert [each.result().num_sequences for each in both] == [61, 20]
    assert numbers == [1, 1]
    assert {Path(folder).parent for folder in folders} == {tmp_path / "one_process-checkpoints"}
    assert {Path(folder).name[:10] for folder in folders} == {str(MONDAY), str(TUESDAY)}
    assert not any(Path(folder).exists() for folder in folders)


def test_spark_scores_as_torch_does(spark, fit, tmp_path):
    fit("one_process", settings={"price_bands": True})
    sequences = [list(map(int, items)) for items in cycles(40, seed=9)]
    kinds = [[KINDS[step % 2] for step in range(len(items))] for items in sequences]
    times = [[FIRST_AT + timedelta(hours=3 * step) for step in range(len(items))] for items in sequences]
    prices = [[None if step % 3 else 150 for step in range(len(items))] for items in sequences]
    customers = [f"c{n:02}" for n in range(len(sequences))]
    rows = spark.createDataFrame(
        list(zip(customers, sequences, kinds, times, prices, strict=True)),
        "customer_id string, item_indices array<int>, kinds array<string>, times array<timestamp>, prices array<bigint>",
    )
    # Three hours are 180 minutes: gap 8; 150 cents are of band 15.
    events = [
        np.array([[item, 1 + step % 2, 8 if step else 0, 0 if step % 3 else 15] for step, item in enumerate(items)])
        for items in sequences
    ]
    for hide_seen in (False, True):
        scored = score_customers_top_k(rows, model_path=str(tmp_path / "one_process"), top_k=5, hide_seen=hide_seen)
        assert scored.schema.simpleString() == "struct<customer_id:string,rank:int,item_index:int,relevance:double>"
        lists = {}
        for row in sorted(scored.collect(), key=lambda row: (row.customer_id, row.rank)):
            lists.setdefault(row.customer_id, []).append((row["rank"], row.item_index, row.relevance))
        items, scores = top_items(load_model(str(tmp_path / "one_process")), events, 5, hide_seen=hide_seen)
        for n in range(len(sequences)):
            ranks, indices, relevances = zip(*lists[f"c{n:02}"], strict=True)
            assert ranks == (1, 2, 3, 4, 5)
            assert list(indices) == items[n].tolist(), (n, hide_seen)
            assert np.allclose(relevances, scores[n], atol=1e-5)

    # MLflow opens the same folder by itself.
    served = mlflow.pyfunc.load_model(str(tmp_path / "one_process"))
    naive = [[at.replace(tzinfo=None) for at in of] for of in times]  # as MLflow wants them, in UTC
    asked = pd.DataFrame(
        {"customer_id": customers, "item_indices": sequences, "kinds": kinds, "times": naive, "prices": prices}
    )
    by_mlflow = served.predict(asked, params={"top_k": 5, "hide_seen": True})
    assert list(zip(by_mlflow["rank"], by_mlflow["item_index"], by_mlflow["relevance"], strict=True)) == [
        listed for customer in sorted(lists) for listed in lists[customer]
    ]
    assert served.metadata.get_input_schema().input_names() == [
        "customer_id",
        "item_indices",
        "kinds",
        "times",
        "prices",
    ]


def test_a_weight_that_takes_no_part_in_a_loss_is_said_before_ranks_wait_for_it():
    used, unused = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    used.sum().backward()
    with pytest.raises(RuntimeError, match="a weight got no gradient in this step"):
        HorovodRanks.step(object.__new__(HorovodRanks), torch.optim.SGD([used, unused]), lambda: None)
