"""Start the ranks: Horovod on Spark, Spark's TorchDistributor, or this process. Nothing else knows them."""

import io
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import torch
from pyspark.sql import SparkSession
from torch import Tensor, nn
from torch.optim import Optimizer

import clm_spark
from clm_spark import files
from clm_spark.errors import SettingsError, UserError, in_a_line
from clm_spark.machine import keep_freed_memory
from clm_spark.models.transformer.data import count_sequences, table_id
from clm_spark.models.transformer.network import read_model_files, save_model_files
from clm_spark.models.transformer.progress import DriverAddress, Reporter, listening, telling
from clm_spark.models.transformer.ranks import OneRank, one_at_a_time
from clm_spark.models.transformer.served import describe
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.models.transformer.storage import readable
from clm_spark.models.transformer.task import ItemFacts, TrainingError, TrainingResult, TrainingTask
from clm_spark.models.transformer.train import train
from clm_spark.signals import raise_if_stopped

log = logging.getLogger(__name__)

FAILURE_MARK = "clm-spark rank failed: "
LEFT_ALONE = ("Horovod has been shut down", "Connection closed by peer", "Connection reset by peer")
START_TIMEOUT_SECONDS = 600
USUAL_RANKS = 2
# Between CPUs: at Horovod's own, 1 ms, looking for work takes about a tenth of each rank's core, over gloo.
CYCLE_MILLISECONDS = "5"
CHECKOUT = str(Path(clm_spark.__file__).parents[1])


def fit_transformer(
    spark: SparkSession,
    *,
    location: str,
    version: int,
    as_of: date,
    num_items: int,
    settings: TransformerSettings,
    model_path: str,
    checkpoints: str,
    start_from: str | None = None,
    since: date | None = None,
    code: str = "",
    epochs: int,
    purchase_epochs: int = 0,
    kinds: tuple[str, ...] = (),
    items: ItemFacts | None = None,
    hides_seen: bool = False,
    vocabulary_version: int | None = None,
) -> TrainingResult:
    """Train on gold.item_sequences of `as_of` in a pinned version of the table at `location`, and save the model.

    `num_items` is the highest item_index of the vocabulary, or of the model in `start_from` where that is higher: its
    training goes on, on the customers with events since the morning `since`. `purchase_epochs` ask for purchases alone, after the `epochs`. `items` says what is known of
    each. `model_path` and `start_from` are folders on any store, which ranks never open. They keep a checkpoint per epoch
    in a folder of their own in `checkpoints`, from which the same training goes on after a kill; it is removed when the
    training ends. A process trains one at a time.

    Raises `ContractError` when there are no sequences, `SettingsError` when the ranks cannot be had and `TrainingError`
    when one of them fails.
    """
    url, storage_options = readable(location)
    num_sequences = count_sequences(url, version, as_of=as_of, storage_options=storage_options)
    ranks = fitted_ranks(settings, slots=task_slots(spark), num_sequences=num_sequences)
    whole = TrainingTask(
        location=url,
        table_id=table_id(url, storage_options),
        version=version,
        as_of=as_of,
        since=since,
        code=code,
        num_items=num_items,
        settings=settings,
        epochs=epochs,
        purchase_epochs=purchase_epochs,
        start_from=None if start_from is None else read_model_files(start_from),
        kinds=kinds,
        items=items or ItemFacts(),
        hides_seen=hides_seen,
        vocabulary_version=vocabulary_version,
        storage_options=storage_options,
    )
    kept = f"{checkpoints}/{as_of}-{whole.name}"  # its own: others may train at the same time
    # A path of this machine is no URL: it may hold what ends the path of one.
    task = replace(whole, checkpoints=str(files.local_path(kept)) if files.is_here(kept) else readable(kept)[0])
    # Nobody asked for ranks and one fits: starting it elsewhere would only cost time.
    is_alone = ranks == 1 and settings.ranks is None
    launch = _LAUNCHERS["one_process" if is_alone else settings.launcher]
    with one_at_a_time:
        raise_if_stopped()  # while it waited
        result = launch(spark, task, ranks)
    save_model_files(result.files, model_path)
    describe(model_path)
    files.remove(kept)
    return result


def task_slots(spark: SparkSession) -> int:
    """How many tasks Spark can run at once; with dynamic allocation, once it has all executors that it may have.

    By whole executors, their cores and their GPUs: as Spark counts before a stage whose tasks must all run at once.
    """
    context = spark.sparkContext._jsc.sc()
    conf, profile = context.conf(), context.resourceProfileManager().defaultResourceProfile()
    if conf.get("spark.dynamicAllocation.enabled", "false") != "true" or _is_local(spark):
        return int(context.maxNumConcurrentTasks(profile))
    most = int(conf.get("spark.dynamicAllocation.maxExecutors", str(sys.maxsize)))
    return most * int(profile.maxTasksPerExecutor(conf))


def fitted_ranks(settings: TransformerSettings, *, slots: int, num_sequences: int) -> int:
    """The ranks that train: those asked for, or as many as there are task slots, `USUAL_RANKS` at most.

    Raises `SettingsError` where more are asked for than there are task slots or sequences.
    """
    if settings.launcher == "one_process":
        return 1
    if settings.ranks is None:
        return max(1, min(USUAL_RANKS, slots, num_sequences))
    _check_ranks(settings.ranks, slots, num_sequences)
    return settings.ranks


def _check_ranks(ranks: int, slots: int, num_sequences: int) -> None:
    if ranks > slots:
        raise SettingsError(
            f"transformer.ranks={ranks}, but Spark has {slots} task slots and every rank holds one until all "
            f"are done: set transformer.ranks to at most {slots}, or give Spark more cores"
        )
    if ranks > num_sequences:
        raise SettingsError(
            f"transformer.ranks={ranks}, but only {num_sequences} customers have a sequence: "
            "set transformer.launcher=one_process"
        )


def _in_one_process(spark: SparkSession, task: TrainingTask, ranks: int) -> TrainingResult:
    with telling() as told, _failures_explained():

        def show(share: float) -> None:
            raise_if_stopped()  # beside other jobs a training is no main thread, and nothing of Spark's that is cancelled
            told.show(share)

        return train(task, OneRank(), told.tell, show)


def _with_horovod(spark: SparkSession, task: TrainingTask, ranks: int) -> TrainingResult:
    try:
        import horovod.spark
        import horovod.torch
        from horovod.runner import gloo_run
    except ImportError as error:
        raise SettingsError(
            f"transformer.launcher=horovod, but Horovod is not to be had ({error}): build it by infra/horovod/build.sh, "
            "or set transformer.launcher=torch_distributor"
        ) from None
    if not horovod.torch.nccl_built() and (_asks_for_gpus(spark) or torch.cuda.is_available()):
        log.warning(
            "Horovod was built without NCCL here: its ranks train on the CPU; set transformer.launcher=torch_distributor, "
            "which takes the GPUs"
        )
    # Horovod would replace our signal handlers and never restore them. Outside the main thread it could not even set them.
    gloo_run.register_shutdown_event = threading.Event
    with listening(_reached_by(spark)) as address, _failures_explained(output := io.StringIO()):
        results = horovod.spark.run(
            _horovod_rank,
            args=(task, address),
            num_proc=ranks,
            use_gloo=True,
            start_timeout=START_TIMEOUT_SECONDS,
            env=_environment(spark),
            stdout=output,
            stderr=output,
            verbose=0,
            executable=spark.sparkContext.pythonExec,  # the executors' Python: the driver's may be nowhere on their machines
        )
    result: TrainingResult = results[0]
    return result


def _with_torch_distributor(spark: SparkSession, task: TrainingTask, ranks: int) -> TrainingResult:
    from pyspark.ml.torch.distributor import TorchDistributor

    distributor = TorchDistributor(num_processes=ranks, local_mode=_is_local(spark), use_gpu=_asks_for_gpus(spark))
    with (
        listening(_reached_by(spark)) as address,
        _failures_explained(output := io.StringIO()),
        _set_environment(_environment(spark)),
        redirect_stdout(output),
    ):
        result = distributor.run(_torch_rank, task, address)
    assert isinstance(result, TrainingResult)
    return result


def _asks_for_gpus(spark: SparkSession) -> bool:
    return bool(spark.conf.get("spark.executor.resource.gpu.amount", None))


_LAUNCHERS: dict[str, Callable[[SparkSession, TrainingTask, int], TrainingResult]] = {
    "horovod": _with_horovod,
    "torch_distributor": _with_torch_distributor,
    "one_process": _in_one_process,
}


class HorovodRanks:
    """Ranks that Horovod started: on GPUs where it was built with NCCL, else on CPUs, over gloo."""

    def __init__(self) -> None:
        import horovod.torch as hvd
        from horovod.spark.task import get_available_devices

        gpus = torch.cuda.device_count() if hvd.nccl_built() else 0
        if not gpus:
            os.environ.setdefault("HOROVOD_CYCLE_TIME", CYCLE_MILLISECONDS)
        hvd.init()
        self._hvd = hvd
        self.rank: int = hvd.rank()
        self.size: int = hvd.size()
        gpu = chosen_gpu(
            get_available_devices(), local_rank=hvd.local_rank(), num_gpus=gpus, num_ranks=hvd.local_size()
        )
        self.device = _device(gpu)

    def average(self, tensor: Tensor) -> None:
        """Put the mean over all ranks into the tensor."""
        tensor.copy_(self._hvd.allreduce(tensor, name="average", op=self._hvd.Average))

    def broadcast(self, tensor: Tensor) -> None:
        """Put rank 0's values into the tensor."""
        tensor.copy_(self._hvd.broadcast(tensor, root_rank=0, name="broadcast"))

    def prepare(self, loss: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """The optimizer as Horovod's, which averages gradients.

        On GPUs each while those before it are still worked out. On CPUs all at once at the end: the processor has nothing
        else to do it with, and once is cheaper.
        """
        named = [(name, weights) for name, weights in loss.named_parameters() if weights.requires_grad]
        groups = 1 if self.device.type == "cpu" else None
        distributed = self._hvd.DistributedOptimizer(
            optimizer, named_parameters=named, op=self._hvd.Average, groups=groups
        )
        return loss, distributed

    def step(self, optimizer: Optimizer, clip: Callable[[], None]) -> None:
        """Wait for the averages, bound them and take the step.

        Raises `RuntimeError` where a weight got no gradient: the other ranks would wait for it for ever.
        """
        if any(weights.grad is None for group in optimizer.param_groups for weights in group["params"]):
            raise RuntimeError("a weight got no gradient in this step: every one must take part in every loss")
        optimizer.synchronize()  # type: ignore[attr-defined]
        clip()
        with optimizer.skip_synchronize():  # type: ignore[attr-defined]
            optimizer.step()


class TorchRanks:
    """Ranks of torch.distributed: nccl between GPUs, gloo between CPUs."""

    def __init__(self) -> None:
        import torch.distributed as dist

        # TorchDistributor shows a rank the GPUs of its Spark task alone.
        local_rank = int(os.environ.get("LOCAL_RANK", 0))
        here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        gpu = chosen_gpu((), local_rank=local_rank, num_gpus=torch.cuda.device_count(), num_ranks=here)
        self.device = _device(gpu)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")
        self._dist = dist
        self.rank: int = dist.get_rank()
        self.size: int = dist.get_world_size()

    def average(self, tensor: Tensor) -> None:
        """Put the mean over all ranks into the tensor."""
        moved = tensor.to(self.device)
        self._dist.all_reduce(moved)
        tensor.copy_(moved / self.size)

    def broadcast(self, tensor: Tensor) -> None:
        """Put rank 0's values into the tensor."""
        moved = tensor.to(self.device)
        self._dist.broadcast(moved, src=0)
        tensor.copy_(moved)

    def prepare(self, loss: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """The loss in DistributedDataParallel, which averages gradients in buckets on the way back."""
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(loss, device_ids=devices, broadcast_buffers=False), optimizer

    def step(self, optimizer: Optimizer, clip: Callable[[], None]) -> None:
        """Take a step: the gradients are averaged by now."""
        clip()
        optimizer.step()


def _horovod_rank(task: TrainingTask, address: DriverAddress) -> TrainingResult:
    ranks, result = _rank(task, HorovodRanks, address)
    return result if ranks.rank == 0 else replace(result, files={})  # Horovod sends every rank's result to the driver


def _torch_rank(task: TrainingTask, address: DriverAddress) -> TrainingResult:
    return _rank(task, TorchRanks, address)[1]  # TorchDistributor sends that of any one rank


def _rank(task: TrainingTask, begin: Callable[[], Any], address: DriverAddress) -> tuple[Any, TrainingResult]:
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        ranks = begin()
        reporter = Reporter(address) if ranks.rank == 0 else None
        return ranks, train(task, ranks, reporter.tell, reporter.show) if reporter else train(task, ranks)
    except Exception as error:
        # Launchers say only that a process ended; the reason travels to the driver in what it printed.
        sys.stderr.write(f"{FAILURE_MARK}{json.dumps(in_a_line(error))}\n")
        sys.stderr.flush()
        raise


@contextmanager
def _failures_explained(output: io.StringIO | None = None) -> Iterator[None]:
    """Raise whatever goes wrong as a `TrainingError` with the reason; `output` is what ranks of other processes printed."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = in_a_line(error) if output is None else reason_of_ranks(output.getvalue(), error)
        raise TrainingError(f"a rank of the training failed: {reason}") from error


def reason_of_ranks(output: str, error: Exception) -> str:
    """Why the first rank failed, as it printed it, or the last line of the launcher's error; never empty."""
    told = [text for rest in f"{output}\n{error}".split(FAILURE_MARK)[1:] if (text := _first_text(rest))]
    # The rank that fails first takes the others with it, and they may be heard before it.
    told.sort(key=lambda text: any(sign in text for sign in LEFT_ALONE))
    return [*told, *reversed(str(error).strip().splitlines()), type(error).__name__][0]


def _first_text(printed: str) -> str:
    """The JSON text at the beginning; where others printed into it, the rest of its line."""
    try:
        return str(json.JSONDecoder().raw_decode(printed)[0])
    except json.JSONDecodeError:
        return printed.partition("\n")[0].strip()


def _environment(spark: SparkSession) -> dict[str, str]:
    """One thread per rank, or ranks fight for the cores; on this machine ranks import the checkout that runs now."""
    environment = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    if _is_local(spark):
        paths = [CHECKOUT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return environment


@contextmanager
def _set_environment(environment: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _reached_by(spark: SparkSession) -> str:
    """How processes of the executors reach this one."""
    return "127.0.0.1" if _is_local(spark) else str(spark.conf.get("spark.driver.host"))


def _is_local(spark: SparkSession) -> bool:
    return str(spark.sparkContext.master).startswith("local")


def chosen_gpu(addresses: Sequence[str], *, local_rank: int, num_gpus: int, num_ranks: int) -> int | None:
    """Which GPU of its machine a rank trains on: that of its Spark task, else that of its number; None: the CPU.

    Spark gives a task its GPUs by `spark.task.resource.gpu.amount`; nobody else uses these `addresses`. Raises
    `TrainingError` where the machine's ranks are more than its GPUs: NCCL takes one rank on each.
    """
    if not num_gpus:
        return None
    if addresses:
        return int(addresses[0])
    if num_ranks > num_gpus:
        raise TrainingError(
            f"{num_ranks} ranks on a machine with {num_gpus} GPUs, and each needs its own: set transformer.ranks to the number of "
            "GPUs, or transformer.launcher=one_process for a single one"
        )
    return local_rank


def _device(gpu: int | None) -> torch.device:
    return torch.device("cpu") if gpu is None else torch.device("cuda", gpu)
