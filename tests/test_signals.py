"""A signal ends what this process waits for, whether Spark is at a job, between two, or between two steps of a stream."""

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
from pyspark.sql import SparkSession

from clm_spark.signals import Stopped, asked_to_stop, stopped_by_signals, uncancelled


def signal_in(seconds: float, number: int = signal.SIGTERM) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()


def stopped(spark: SparkSession, does: Callable[[], object]) -> Stopped:
    with pytest.raises(Stopped) as end, stopped_by_signals(spark):
        does()
    return end.value


def test_what_spark_does_after_the_signal_is_cancelled_too(spark):
    def work() -> None:
        signal_in(0.5)
        for _ in range(5):  # half a minute, were it not stopped
            spark.sparkContext._jvm.java.lang.Thread.sleep(1500)  # as a plan or a commit: no job to cancel
            spark.sql("SELECT java_method('java.lang.Thread', 'sleep', 5000L + id) FROM range(0, 2, 1, 2)").collect()

    begun = time.monotonic()
    error = stopped(spark, work)
    assert (error.code, str(error)) == (143, "stopped by signal 15")
    assert time.monotonic() - begun < 10
    assert asked_to_stop == []
    assert spark.range(3).count() == 3, "nothing is cancelled afterwards"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_stream_is_stopped(spark, tmp_path, number):
    rows = spark.readStream.format("rate").load().writeStream.format("noop").trigger(processingTime="1 hour")
    queries = []

    def wait() -> None:
        query = rows.option("checkpointLocation", str(tmp_path)).start()
        queries.append(query)
        while query.lastProgress is None or query.status["isTriggerActive"]:  # the one step of this hour
            time.sleep(0.1)
        signal_in(0.5, number)
        query.awaitTermination()

    assert stopped(spark, wait).code == 128 + number
    assert [query.isActive for query in queries] == [False]


def test_what_is_recorded_is_not_cancelled(spark):
    counted = []

    def record() -> None:
        with uncancelled:
            signal_in(0.2)
            time.sleep(1)
            counted.append(spark.range(10).count())

    assert stopped(spark, record).code == 143
    assert counted == [10]
