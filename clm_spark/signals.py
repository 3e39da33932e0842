"""SIGTERM and SIGINT cancel what Spark does and end this process as an error would: gold.runs records it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

CANCEL_EVERY_SECONDS = 0.2
CANCEL_SECONDS = 10

asked_to_stop: list[int] = []  # signals that came while `stopped_by_signals` listens
uncancelled = threading.Lock()  # held while the end of a run is recorded, which is Spark's work too


class Stopped(SystemExit):
    """A signal asked this process to end; its exit code is 128 and the signal's number."""

    def __str__(self) -> str:
        return f"stopped by signal {int(self.code or 128) - 128}"


def raise_if_stopped() -> None:
    """Raise `Stopped` where a signal has asked this process to end."""
    if asked_to_stop:
        raise Stopped(128 + asked_to_stop[0])


@contextmanager
def stopped_by_signals(spark: SparkSession) -> Iterator[None]:
    """Raise `Stopped` where a signal comes inside the block: at once, or as soon as Spark answers."""
    is_over = threading.Event()
    canceller = threading.Thread(target=_cancel, args=(spark, is_over), name="canceller", daemon=True)

    def stop(number: int, frame: FrameType | None) -> None:
        asked_to_stop.append(number)
        # Half an answer of Spark's would be read as the answer to the next question: this thread waits for the whole.
        if not _waits_for_spark(frame) and not uncancelled.locked():
            raise_if_stopped()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    canceller.start()
    try:
        yield
        raise_if_stopped()
    except Exception as error:
        if asked_to_stop:
            raise Stopped(128 + asked_to_stop[0]) from error
        raise
    finally:
        is_over.set()
        canceller.join(CANCEL_SECONDS)
        asked_to_stop.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _cancel(spark: SparkSession, is_over: threading.Event) -> None:
    """Once asked to stop, cancel jobs and stop streams until the block is over.

    Again and again: between two jobs Spark plans or commits, which nothing cancels, and then begins the next.
    """
    while not is_over.wait(CANCEL_EVERY_SECONDS):
        if not asked_to_stop:
            continue
        with suppress(Py4JError, PySparkException, OSError):
            with uncancelled:
                spark.sparkContext.cancelAllJobs()
            for query in spark.streams.active:
                query.stop()


def _waits_for_spark(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("py4j."):
            return True
        frame = frame.f_back
    return False
