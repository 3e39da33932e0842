"""Train the same next-item transformer here, with RecTools and with RePlay: sequences a second, in one run, in turn.

`python tests/benchmarks/bench_train.py --sequences 20000` draws item sequences, and lets each library train one layer of
width 64 with 256 sampled negatives on batches of 128, on one thread of the CPU: SASRec of the others, ours as shipped.
Ours and RePlay's share the negatives of a batch, RecTools draws as many for every position, which is more work.
`--shape full` makes every sequence 50 items long, `--shape mixed` as long as a shop's are: five items in the median. The
first epoch warms up and is not counted. The share of the peak is that of the multiplications that the network needs with negatives
that a batch shares, by the seconds of an epoch, beside what torch.matmul reaches here on large matrices. Then two ranks of Horovod train on twice as many
sequences as one process: the efficiency is what each does beside one of two processes side by side that do not speak.
`--batch 512` takes larger batches of each process; `--ranks-alone` leaves the rivals out.
Nothing depends on the seconds. The rivals need virtual environments of their own, made in --folder.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
import torch
from sequence_sets import DAY, Sequences, write_sequences

from clm_spark.machine import keep_freed_memory
from clm_spark.models.transformer.launch import HorovodRanks, TorchRanks
from clm_spark.models.transformer.ranks import OneRank, Ranks
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.models.transformer.task import TrainingTask
from clm_spark.models.transformer.train import train

HERE = Path(__file__).parent
RIVALS = {"rectools": ["rectools[torch]==0.19.0"], "replay": ["replay-rec[torch]==0.22.0"]}  # what pip is asked for
RESULT = "RESULT "
NUM_ITEMS = 10_000
SHAPE = {"layers": 1, "heads": 1, "width": 64, "length": 50, "negatives": 256, "batch_size": 128, "dropout": 0.2}


def drawn(num: int, shape: str) -> Sequences:
    """Sequences of items whose popularity falls with their number."""
    random = np.random.default_rng(7)
    shares = np.arange(1, NUM_ITEMS + 1) ** -0.8
    longest = SHAPE["length"] + 1
    lengths = np.full(num, longest) if shape == "full" else 3 + random.geometric(0.2, num).clip(max=longest - 3)
    items = random.choice(NUM_ITEMS, int(lengths.sum()), p=shares / shares.sum())
    return np.split(items + 1, np.cumsum(lengths)[:-1])


def ours(location: str, epochs: int, ranks: Ranks) -> list[float]:
    """Seconds of each epoch in this process, or of these ranks, each of which has its own batch of the usual size."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as in a rank
    names = ("layers", "heads", "width", "negatives", "dropout")
    settings = TransformerSettings(
        **{name: SHAPE[name] for name in names}, batch_size=SHAPE["batch_size"] * ranks.size, max_length=SHAPE["length"], steps=SHAPE["length"], horizon=1,
        repeat_memory=False, item_bias=False, time_gaps=False, launcher="one_process",
    )  # fmt: skip
    at = [time.monotonic()]
    task = TrainingTask(location=location, version=0, as_of=DAY, num_items=NUM_ITEMS, settings=settings, epochs=epochs)
    train(task, ranks, tell=lambda line: at.append(time.monotonic()))
    return list(np.diff(at))


def python_of(folder: Path, rival: str) -> Path:
    """The Python of a virtual environment that holds a rival; it borrows torch from ours."""
    venv = folder / f"venv-{rival}"
    python = venv / "bin" / "python"
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
        (own,) = venv.glob("lib/python*/site-packages")
        (own / "zz_torch.pth").write_text(str(Path(torch.__file__).parents[1]))
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *RIVALS[rival]], check=True)
        (venv / "ready").touch()
    return python


def told(command: list[str]) -> list[float]:
    """What a process says after RESULT."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if RESULT in line]
    if not found:
        raise SystemExit(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")
    seconds: list[float] = json.loads(found[-1].partition(RESULT)[2])
    return seconds


def of_rival(python: Path, rival: str, file: Path, epochs: int) -> list[float]:
    asked = [f"--{name}={value}" for name, value in {**SHAPE, "epochs": epochs, "threads": 1}.items()]
    return told([str(python), str(HERE / "train_rivals.py"), rival, str(file), *asked])


def of_us(location: str, epochs: int, ranks: str = "one") -> list[float]:
    launchers = {
        "one": [sys.executable],
        "torch": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
        "horovod": [str(Path(sys.executable).parent / "horovodrun"), "-np", "2", "--gloo", sys.executable],
    }
    asked = ["--child", location, "--epochs", str(epochs), "--ranks", ranks, "--batch", str(SHAPE["batch_size"])]
    return told([*launchers[ranks], __file__, *asked])


def peak_flops() -> float:
    """What one thread multiplies a second, in large matrices of 4-byte numbers."""
    torch.set_num_threads(1)
    left, right = torch.randn(1024, 1024), torch.randn(1024, 1024)
    seconds = []
    for _ in range(20):
        began = time.monotonic()
        left @ right
        seconds.append(time.monotonic() - began)
    return float(2 * 1024**3 / min(seconds))


def flops_per_item() -> float:
    """Of the network, forwards and back: three times two per weight that an item meets, and its negatives."""
    width, length = SHAPE["width"], SHAPE["length"]
    weights = SHAPE["layers"] * (4 * width**2 + 3 * width * 4 * width + 2 * length * width / 2)
    return float(6 * (weights + SHAPE["negatives"] * width))


def side_by_side(once: str, twice: str, num: int, epochs: int, rounds: int) -> None:
    """Two ranks on twice as many sequences, beside two processes that do not speak, each on its own; in turn."""
    seconds: dict[str, list[float]] = {"alone": [], "horovod": [], "torch": []}
    for _ in range(rounds):
        with ThreadPoolExecutor(2) as both:
            seconds["alone"] += [each for one in both.map(lambda _: of_us(once, epochs)[1:], range(2)) for each in one]
        for launcher in ("horovod", "torch"):
            seconds[launcher] += of_us(twice, epochs, launcher)[1:]
    alone = median(seconds.pop("alone"))
    print(f"  two processes side by side: {num / alone:,.0f} sequences/s each")
    for launcher, each in seconds.items():
        shares = f"{alone / median(each):.0%} ({alone / max(each):.0%} to {alone / min(each):.0%})"
        print(f"  two ranks of {launcher}: {num / median(each):,.0f} each, efficiency {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3, help="the first one is not counted")
    parser.add_argument("--rounds", type=int, default=2, help="how often each has its turn")
    parser.add_argument("--shape", choices=("full", "mixed"), nargs="+", default=["full", "mixed"])
    parser.add_argument("--batch", type=int, default=SHAPE["batch_size"], help="sequences of a step, of each process")
    parser.add_argument("--ranks-alone", action="store_true", help="time one and two ranks, and no rival")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "clm-bench-train")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--ranks", default="one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    SHAPE["batch_size"] = asked.batch
    if asked.child:
        ranks = {"one": OneRank, "torch": TorchRanks, "horovod": HorovodRanks}[asked.ranks]()
        seconds = ours(asked.child, asked.epochs, ranks)
        if ranks.rank == 0:
            print(RESULT + json.dumps(seconds), flush=True)
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    pythons = {} if asked.ranks_alone else {rival: python_of(asked.folder, rival) for rival in RIVALS}
    for shape in asked.shape:
        both = drawn(2 * asked.sequences, shape)
        sequences = both[: asked.sequences]
        num_items = sum(len(items) - 1 for items in sequences)
        with tempfile.TemporaryDirectory() as folder:
            location, file = write_sequences(Path(folder) / "table", sequences), Path(folder) / "sequences.npz"
            ends = np.cumsum([len(items) for items in sequences])[:-1]
            np.savez(file, items=np.concatenate(sequences) - 1, ends=ends)
            seconds: dict[str, list[float]] = {name: [] for name in ("clm-spark", *pythons)}
            for _ in range(asked.rounds):
                seconds["clm-spark"] += of_us(location, asked.epochs)[1:]
                for rival, python in pythons.items():
                    seconds[rival] += of_rival(python, rival, file, asked.epochs)[1:]
            print(
                f"{shape}: {len(sequences):,} sequences, {num_items:,} items a pass, batches of {asked.batch}, one thread"
            )
            fastest, peak = median(seconds["clm-spark"]), peak_flops()
            for name, each in seconds.items():
                took = median(each)
                print(
                    f"  {name:10} {len(sequences) / took:7,.0f} sequences/s ({len(sequences) / max(each):,.0f} to "
                    f"{len(sequences) / min(each):,.0f}), {took / fastest:.2f} times our seconds, "
                    f"{flops_per_item() * num_items / took / peak:.0%} of the peak"
                )
            twice = write_sequences(Path(folder) / "twice", both)
            side_by_side(location, twice, len(sequences), asked.epochs, asked.rounds)


if __name__ == "__main__":
    main()
