"""How far a training is: a line per epoch in the log, and a bar where standard error is a terminal."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

LINE_MARK = "clm-spark progress: "
SHARE_MARK = "clm-spark share: "

log = logging.getLogger(__name__)


class Told:
    """What rank 0 says goes to the driver's log and bar."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.passes = bar.add_task("training", total=1.0)

    def tell(self, line: str) -> None:
        """A line for the log."""
        log.info("%s", line)

    def show(self, share: float) -> None:
        """The share of all passes that is made."""
        self.bar.update(self.passes, completed=share)


class Output(io.StringIO):
    """What the ranks of other processes print: their progress is told as it comes, all of it is kept."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self.told = told
        self.begun = ""  # a line whose end has not come

    def write(self, text: str) -> int:
        """Keep the text, and tell the progress in its lines."""
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            if LINE_MARK in line:
                self.told.tell(line.partition(LINE_MARK)[2])
            if SHARE_MARK in line:
                self.told.show(float(line.partition(SHARE_MARK)[2]))
        return super().write(text)


@contextmanager
def telling() -> Iterator[Told]:
    """The driver's; the bar is gone when the training is over."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield Told(bar)


def print_line(line: str) -> None:
    """Tell from a rank's process, by its output."""
    _print(f"{LINE_MARK}{line}")


def print_share(share: float) -> None:
    """Show from a rank's process."""
    _print(f"{SHARE_MARK}{share:.4f}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
