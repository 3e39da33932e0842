import logging

from rich.progress import Progress
from sequences import DEBUG_SIZE, KINDS, MONDAY, NUM_ITEMS, cycles, write_sequences

from clm_spark.models.transformer import train as training
from clm_spark.models.transformer.progress import Output, Told, print_line, print_share
from clm_spark.models.transformer.ranks import OneRank
from clm_spark.models.transformer.task import TrainingTask


def test_what_a_rank_prints_is_told_on_the_driver(capsys, caplog):
    print_line("epoch 1 of 2: loss 3.0")
    print_share(0.5)
    printed = capsys.readouterr().out
    told = Told(Progress(disable=True))
    output = Output(told)
    with caplog.at_level(logging.INFO):
        for piece in ("[1]<stdout>:", printed[:20], printed[20:-4], printed[-4:-1]):  # pipes cut lines
            output.write(piece)
    assert [record.message for record in caplog.records] == ["epoch 1 of 2: loss 3.0"]
    assert told.bar.tasks[0].completed == 0, "its line is not over"
    output.write("\n")
    assert told.bar.tasks[0].completed == 0.5
    assert output.getvalue() == f"[1]<stdout>:{printed}"


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
