import pytest
import torch

from clm_spark.models.transformer.checkpoints import PIECE, Checkpoints


@pytest.mark.parametrize("scheme", ["", "file://"])  # this machine's files, and delta-rs as it opens every other store
def test_the_last_epoch_of_the_same_training_is_kept_whole(scheme, tmp_path):
    url = f"{scheme}{tmp_path}"
    kept = Checkpoints.of(url, "a training")
    assert kept.last() is None
    weights = torch.arange(PIECE, dtype=torch.float32)  # four pieces, and what torch writes around them
    for epoch in (1, 2):
        kept.save(epoch, {"epoch": epoch, "weights": weights * epoch})
        state = Checkpoints.of(url, "a training").last()
        assert state["epoch"] == epoch
        assert torch.equal(state["weights"], weights * epoch)
        assert [file.name for file in tmp_path.iterdir()] == [f"epoch-{epoch}.pt"], "older ones are dropped"
    assert Checkpoints.of(url, "another training").last() is None


def test_a_checkpoint_that_was_cut_off_is_left_out(tmp_path, caplog):
    checkpoints = Checkpoints.of(str(tmp_path), "a training")
    checkpoints.save(1, {"weights": torch.ones(3)})
    whole = (tmp_path / "epoch-1.pt").read_bytes()
    for content in (b"", whole[:-10]):
        (tmp_path / "epoch-2.pt").write_bytes(content)
        assert checkpoints.last()["weights"].tolist() == [1, 1, 1]
        assert "epoch-2.pt cannot be read and is left out: " in caplog.records[-1].getMessage()
    (tmp_path / "epoch-1.pt").write_bytes(b"")
    assert checkpoints.last() is None


def test_without_a_folder_nothing_is_kept():
    assert Checkpoints.of(None, "a training") is None
