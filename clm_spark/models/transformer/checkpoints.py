"""A checkpoint per epoch, on any store that the ranks reach: a training that was killed goes on from the last one."""

import io
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from clm_spark.errors import in_a_line

NAMED = re.compile(r"^epoch-(\d+)\.pt$")
PIECE = 1 << 20  # bytes written at once

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoints:
    """A folder of them; only rank 0 writes."""

    system: fs.FileSystem
    folder: str
    task: str

    @classmethod
    def of(cls, url: str | None, task: str, storage_options: Mapping[str, str] | None = None) -> "Checkpoints | None":
        """The checkpoints of what is trained under the name `task`, in the folder `url` as delta-rs names it."""
        if url is None:
            return None
        if "://" not in url:
            Path(url).mkdir(parents=True, exist_ok=True)
            return cls(fs.LocalFileSystem(), url, task)
        handler = DeltaStorageHandler(url, dict(storage_options or {}))
        return cls(fs.PyFileSystem(handler), "", task)

    def save(self, epoch: int, state: Mapping[str, Any]) -> None:
        """Keep the state after an epoch, whole or not at all, and drop what is older."""
        content = io.BytesIO()
        torch.save({"task": self.task, **state}, content)
        unfinished = self._path("unfinished.pt")
        whole = content.getbuffer()
        # A stream of delta-rs takes only `bytes`. PyArrow gives it these when it empties its buffer, but an object of its
        # own, which is refused, for a piece that is larger than the buffer.
        with self.system.open_output_stream(unfinished, buffer_size=2 * PIECE) as stream:
            for start in range(0, len(whole), PIECE):
                stream.write(whole[start : start + PIECE])
        self.system.move(unfinished, self._path(f"epoch-{epoch}.pt"))
        for older in self._epochs():
            if older != epoch:
                self.system.delete_file(self._path(f"epoch-{older}.pt"))

    def last(self) -> dict[str, Any] | None:
        """The state after the last epoch of this task; None where there is none that can be read."""
        for epoch in sorted(self._epochs(), reverse=True):
            path = self._path(f"epoch-{epoch}.pt")
            with self.system.open_input_file(path) as file:
                content = file.read()
            try:
                state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
            except Exception as error:  # of a file that is cut off torch raises one of many
                log.warning("the checkpoint %s cannot be read and is left out: %s", path, in_a_line(error))
                continue
            if state.pop("task", None) == self.task:
                return state
        return None

    def _epochs(self) -> list[int]:
        found = self.system.get_file_info(fs.FileSelector(self.folder, allow_not_found=True))
        return [int(name[1]) for name in map(NAMED.match, (file.base_name for file in found)) if name]

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}" if self.folder else name
