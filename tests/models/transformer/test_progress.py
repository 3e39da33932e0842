import logging
import socket
import time

from sequences import DEBUG_SIZE, KINDS, MONDAY, NUM_ITEMS, cycles, write_sequences

from clm_spark.models.transformer import progress
from clm_spark.models.transformer import train as training
from clm_spark.models.transformer.progress import DriverAddress, Reporter, listening
from clm_spark.models.transformer.ranks import OneRank
from clm_spark.models.transformer.task import TrainingTask


def waited_for(condition) -> bool:
    for _ in range(100):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_what_rank_0_says_is_told_on_the_driver_at_once(caplog, monkeypatch):
    shown = []
    monkeypatch.setattr(progress.DriverProgress, "show", lambda self, share: shown.append(share))
    with caplog.at_level(logging.INFO), listening("127.0.0.1") as address:
        reporter = Reporter(address)
        reporter.tell("epoch 1 of 2: loss 3.0")
        reporter.show(0.5)
        assert waited_for(lambda: shown == [0.5])
        assert [record.message for record in caplog.records] == ["epoch 1 of 2: loss 3.0"]

        # Whoever does not know the token, or speaks no JSON, is not heard, and nothing breaks.
        Reporter(DriverAddress(address.host, address.port, "guessed")).tell("not ours")
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n")
        reporter.show(0.75)
        assert waited_for(lambda: shown == [0.5, 0.75])
        assert len(caplog.records) == 1
    for n in range(1000):  # the driver listens no longer: the training goes on
        reporter.show(n)
    Reporter(address).tell("nobody is there")


def test_a_training_shows_the_share_of_its_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SECONDS_BETWEEN_SHOWS", 0)
    write_sequences(tmp_path / "sequences", cycles(61))
    task = TrainingTask(
        location=str(tmp_path / "sequences"), version=0, as_of=MONDAY, num_items=NUM_ITEMS, settings=DEBUG_SIZE,
        epochs=2, purchase_epochs=1, kinds=KINDS,
    )  # fmt: skip
    shown = []
    training.train(task, OneRank(), show=shown.append)
    assert len(shown) == 3 * 4, "after each of four batches"
    assert shown == sorted(shown)
    assert shown[-1] == 1
    assert abs(shown[3] - 1 / 3) < 1e-9
