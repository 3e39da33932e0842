import numpy as np
import pytest
from sequences import MONDAY, TUESDAY, write_sequences

from clm_spark.errors import ContractError
from clm_spark.models.transformer.data import batches, count_sequences, read_shard


def rows_of(shard) -> list[tuple[int, ...]]:
    return [tuple(shard[n].tolist()) for n in range(len(shard))]


def shards_of(table, version, *, ranks, max_length=100):
    return [
        read_shard(str(table), version, as_of=MONDAY, rank=rank, ranks=ranks, max_length=max_length)
        for rank in range(ranks)
    ]


def test_ranks_share_the_rows_of_a_pinned_version(tmp_path):
    expected = [(n, n + 1, *range(n % 7)) for n in range(1, 76)]
    write_sequences(tmp_path, expected[:33])  # version 0
    write_sequences(tmp_path, expected[33:])  # version 1
    write_sequences(tmp_path, [(9, 9)], TUESDAY)
    write_sequences(tmp_path, [(8, 8)])  # version 3: after the pin
    for ranks in (1, 2, 3, 7):
        shards = shards_of(tmp_path, 2, ranks=ranks)
        assert sorted(row for shard in shards for row in rows_of(shard)) == sorted(expected), ranks
        assert max(map(len, shards)) - min(map(len, shards)) <= 1, ranks
    assert rows_of(shards[3]) == rows_of(shards_of(tmp_path, 2, ranks=7)[3]), "and again"
    assert (count_sequences(str(tmp_path), 0, as_of=MONDAY), count_sequences(str(tmp_path), 2, as_of=TUESDAY)) == (
        33,
        1,
    )
    cut = [row for shard in shards_of(tmp_path, 2, ranks=2, max_length=3) for row in rows_of(shard)]
    assert sorted(cut) == sorted(row[-3:] for row in expected)
    with pytest.raises(ContractError, match="no item sequences as of 2024-02-27 in version 0"):
        read_shard(str(tmp_path), 0, as_of=TUESDAY, rank=0, ranks=1, max_length=9)


def test_every_rank_has_the_same_number_of_batches(tmp_path):
    cases = {  # name: sequences, ranks, batch size, batches of every rank
        "odd rows": ([(1, 2)] * 41, 2, 10, 3),
        "a rank with rows of one item alone": ([(1,)] * 20 + [(1, 2)] * 20, 2, 10, 2),
        "a rank with fewer usable rows than batches": ([(1,)] * 19 + [(1, 2)] * 21, 2, 5, 4),
    }
    for name, (sequences, ranks, batch_size, expected) in cases.items():
        write_sequences(tmp_path / name, sequences)
        for shard in shards_of(tmp_path / name, 0, ranks=ranks):
            epoch = list(batches(shard, batch_size=batch_size, steps=4, random=np.random.default_rng(7)))
            assert len(epoch) == shard.num_batches(batch_size) == expected, name


def test_a_batch_says_which_of_its_items_is_which(tmp_path):
    write_sequences(tmp_path, [(5, 3, 5, 9), (7, 7)])
    (shard,) = shards_of(tmp_path, 0, ranks=1)
    (batch,) = batches(shard, batch_size=10, steps=3, random=np.random.default_rng(7))
    long = int(np.argmax((batch.items > 0).sum(axis=1)))
    assert batch.items[long].tolist() == [5, 3, 5, 9]
    assert batch.items[1 - long].tolist() == [7, 7, 0, 0]
    assert batch.candidates[long].tolist() == [3, 5, 9]
    assert batch.candidates[long][batch.places[long]].tolist() == [5, 3, 5, 9]
    assert sorted(batch.positions[long].tolist()) == [0, 1, 2], "never after the last item: nothing is known to come"
    assert batch.positions[1 - long][batch.is_asked[1 - long]].tolist() == [0]
