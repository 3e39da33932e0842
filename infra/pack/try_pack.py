"""Run by a packed Python from another folder and an empty environment: import all of clm_spark, and train a step."""

import bz2  # noqa: F401
import ctypes  # noqa: F401
import lzma  # noqa: F401
import pkgutil
import re
import sqlite3  # noqa: F401
import ssl  # noqa: F401
import sys
from importlib import import_module
from pathlib import Path

import clm_spark
import clm_spark.cli

OF_THE_MACHINE = re.compile(r"(ld-linux.*|libc|libm|libdl|libpthread|librt|libutil|libresolv|libstdc\+\+|libgcc_s)\.so")
OF_TRAIN = ("torch", "transformers", "deltalake", "safetensors")


def import_all(extra: str) -> None:
    for module in pkgutil.walk_packages(clm_spark.__path__, "clm_spark."):
        try:
            import_module(module.name)
        except ModuleNotFoundError as error:
            if extra == "train" or error.name not in OF_TRAIN:
                raise


def train_a_step() -> None:
    import horovod.torch as hvd
    import torch

    hvd.init()
    model = torch.nn.TransformerEncoderLayer(8, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    loss = model(torch.ones(4, 3, 8)).pow(2).mean()
    loss.backward()
    optimizer.step()
    assert hvd.allreduce(loss.detach()).isfinite()


def foreign_libraries() -> list[str]:
    """Libraries that were loaded from outside the pack, those that any machine has aside."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    loaded = {Path(line.split()[-1]) for line in lines if ".so" in line}
    return sorted(str(file) for file in loaded if sys.prefix not in str(file) and not OF_THE_MACHINE.match(file.name))


import_all(sys.argv[1])
if sys.argv[1] == "train":
    train_a_step()
outside = [*foreign_libraries(), *(path for path in sys.path[1:] if not path.startswith(sys.prefix))]
if outside:
    raise SystemExit(f"pack: not in the pack and not on every machine: {', '.join(outside)}")
