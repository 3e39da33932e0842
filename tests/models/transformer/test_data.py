from datetime import date

import pytest
from sequences import KINDS, MONDAY, TUESDAY, shards_of, write_sequences

from clm_spark.errors import ContractError
from clm_spark.models.transformer.data import count_sequences, read_shard


def rows_of(shard) -> list[tuple[int, ...]]:
    return [tuple(part[n][:, 0].tolist()) for part in shard.parts for n in range(len(part))]


def test_ranks_share_the_rows_of_a_pinned_version(tmp_path):
    expected = [(n, n + 1, *range(n % 7)) for n in range(1, 76)]
    write_sequences(tmp_path, expected[:33])  # version 0
    write_sequences(tmp_path, expected[33:])  # version 1
    write_sequences(tmp_path, [(9, 9)], TUESDAY)
    write_sequences(tmp_path, [(8, 8)])  # version 3: after the pin
    for ranks in (1, 2, 3, 7):
        shards = shards_of(tmp_path, 2, ranks=ranks)
        assert sorted(row for shard in shards for row in rows_of(shard)) == sorted(expected), ranks
        sizes = [len(rows_of(shard)) for shard in shards]
        assert max(sizes) - min(sizes) <= 10, (ranks, "a part of 16, or two")
    assert rows_of(shards[3]) == rows_of(shards_of(tmp_path, 2, ranks=7)[3]), "and again"
    assert (count_sequences(str(tmp_path), 0, as_of=MONDAY), count_sequences(str(tmp_path), 2, as_of=TUESDAY)) == (
        33,
        1,
    )
    cut = [row for shard in shards_of(tmp_path, 2, ranks=2, max_length=3) for row in rows_of(shard)]
    assert sorted(cut) == sorted(row[-3:] for row in expected)
    with pytest.raises(ContractError, match="no item sequences as of 2024-02-27 in version 0"):
        read_shard(str(tmp_path), 0, as_of=TUESDAY, rank=0, ranks=1, max_length=9)


def test_only_customers_with_new_events_are_read(tmp_path):
    """Events an hour apart, from 2024-02-01 00:00 on: the last one of 24 n events is of the day n."""
    write_sequences(tmp_path, [range(1, 1 + 24 * n) for n in range(1, 7)])
    write_sequences(tmp_path / "old", [(5, 6)], kinds=False)

    def found(since, table=tmp_path):
        shard = read_shard(str(table), 0, as_of=MONDAY, rank=0, ranks=1, max_length=999, since=since)
        assert len(shard) == len(rows_of(shard))
        return sorted(len(row) // 24 for row in rows_of(shard))

    assert found(None) == [1, 2, 3, 4, 5, 6]
    assert found(date(2024, 2, 5)) == [4, 5, 6], "from a day before on, of whichever zone the shop is"
    assert found(date(2024, 2, 28)) == []
    assert found(date(2024, 2, 28), tmp_path / "old") == [0], "of unknown time"


def test_events_carry_their_kind_and_the_gap_before_them(tmp_path):
    """By hand: gaps 1 + floor(log2(1 + minutes)), 0 for the first event of the stored sequence; a price of n cents
    1 + floor(2 log2(1 + n)), as of 150 and 200 cents 15 and 16, 0 where unknown."""
    for minutes, expected in ((0, 1), (0.9, 1), (1, 2), (2.9, 2), (3, 3), (60, 6), (60 * 24, 11), (60 * 24 * 800, 20)):
        table = tmp_path / str(minutes)
        write_sequences(table, [(5, 6, 7, 8)], minutes=minutes)
        (part,) = [
            part
            for part in read_shard(
                str(table), 0, as_of=MONDAY, rank=0, ranks=1, max_length=3, kinds=("cart", "purchase")
            ).parts
            if len(part)
        ]
        assert part[0].tolist() == [[6, 2, expected, 15], [7, 0, expected, 0], [8, 2, expected, 16]], minutes
        whole = read_shard(str(table), 0, as_of=MONDAY, rank=0, ranks=1, max_length=4, kinds=("view",))
        assert next(part for part in whole.parts if len(part))[0][0].tolist() == [5, 1, 0, 0]
    write_sequences(tmp_path / "old", [(5, 6)], kinds=False)
    (part,) = [part for part in shards_of(tmp_path / "old", 0, ranks=1)[0].parts if len(part)]
    assert part[0].tolist() == [[5, 0, 0, 0], [6, 0, 0, 0]]


def test_validation_keeps_the_last_item_of_some(tmp_path):
    write_sequences(tmp_path, [(n, n + 1, *range(n % 7)) for n in range(1, 76)])
    (shard,) = shards_of(tmp_path, 0, ranks=1)
    trained, validated = shard.split(0.3, 7)
    before, after = rows_of(shard), rows_of(trained)
    changed = [n for n in range(75) if before[n] != after[n]]
    assert 10 < len(changed) < 35
    assert [tuple(sequence[:, 0].tolist()) for sequence in validated] == [before[n] for n in changed]
    assert all(after[n] == before[n][:-1] and len(after[n]) >= 2 for n in changed)
    of_ranks = [split.split(0.3, 7)[1] for split in shards_of(tmp_path, 0, ranks=3)]
    assert [items.tolist() for some in of_ranks for items in some] == [items.tolist() for items in validated]


def test_validation_keeps_the_last_purchase_of_some(tmp_path):
    write_sequences(tmp_path, [tuple(range(n, n + 1 + n % 7)) for n in range(1, 76)])
    (shard,) = shards_of(tmp_path, 0, ranks=1, kinds=KINDS)
    purchase = 1 + KINDS.index("purchase")
    trained, validated = shard.split(0.5, 7, purchase)
    before, after = rows_of(shard), rows_of(trained)
    changed = [n for n in range(75) if before[n] != after[n]]
    assert len(changed) == len(validated) > 10
    for n, sequence in zip(changed, validated, strict=True):
        last = (len(before[n]) // 2) * 2 - 1  # the place of the last purchase
        assert tuple(sequence[:, 0].tolist()) == before[n][: last + 1]
        assert sequence[-1, 1] == purchase
        assert after[n] == before[n][:last]
        assert len(after[n]) >= 2
