import numpy as np
import pytest
from sequences import KINDS, shards_of, write_sequences

from clm_spark.models.transformer.batches import Epoch, Question, read_ahead

FOUR_STEPS = Question(4)


def epochs_of(shards, *, batch_size, question=FOUR_STEPS, number=0):
    """The same epoch of every rank; the ranks take turns in giving their arrays."""

    def total_of(shard):
        def total(array):
            asked.setdefault(id(shard), []).append(array)
            turn = len(asked[id(shard)]) - 1
            others = [each for each in shards if each is not shard]
            return array + sum(told[id(other)][turn] for other in others) if told else array

        return total

    # First what each rank gives of its own, then the sums.
    told: dict = {}
    for _ in range(2):
        asked: dict = {}
        epochs = [Epoch(shard, batch_size, question, 7, number, total_of(shard)) for shard in shards]
        for epoch in epochs:
            epoch._lengths_of_all  # noqa: B018
        told = dict(asked)
    return epochs


def test_all_ranks_together_make_the_batches_of_one(tmp_path):
    """Each batch holds the same customers and asks after the same steps on 1, 2, 3 or 16 ranks, and an epoch holds all on any number."""
    random = np.random.default_rng(8)
    sequences = [tuple(random.integers(1, 99, size)) for size in random.integers(1, 12, 207)]
    write_sequences(tmp_path, sequences)
    usable = sorted(tuple(map(int, sequence)) for sequence in sequences if len(sequence) > 1)
    of_epochs = []
    for number in (0, 1):
        made = {}
        for ranks in (1, 2, 3, 16, 20):
            epochs = epochs_of(shards_of(tmp_path, 0, ranks=ranks), batch_size=20, number=number)
            assert {epoch.num_batches for epoch in epochs} == {-(-len(usable) // 20)}
            together = [sorted(of_batch(each)) for each in zip(*map(list, epochs), strict=True)]
            made[ranks] = together
            assert sorted(items for batch in together for items, _ in batch) == usable, ranks
        assert made[2] == made[1]
        assert made[3] == made[1]
        assert made[16] == made[1]
        of_epochs.append(made[1])
    assert of_epochs[0] != of_epochs[1], "another epoch puts others together"


@pytest.mark.parametrize("horizon", [1, 3])
def test_only_purchases_are_asked_for(tmp_path, horizon):
    """Events are views and purchases in turn: the purchases are the events 1, 3, 5 and so on."""
    sizes = [1 + n % 9 for n in range(120)]
    write_sequences(tmp_path, [[1 + n, *range(1, size)] for n, size in enumerate(sizes)])
    question = Question(99, horizon, kind=1 + KINDS.index("purchase"))
    of_ranks = {}
    for ranks in (1, 3):
        shards = shards_of(tmp_path, 0, ranks=ranks, kinds=KINDS)
        epochs = epochs_of(shards, batch_size=30, question=question)
        batches = [list(epoch) for epoch in epochs]
        of_ranks[ranks] = sorted(of_batch(batch for some in batches for batch in some))
        asked = sum(batch.is_asked.sum() for some in batches for batch in some)
        assert asked == sum(len(places) for _, places in of_ranks[ranks])
    assert of_ranks[3] == of_ranks[1]
    assert len(of_ranks[1]) == sum(size > 1 for size in sizes)
    for items, places in of_ranks[1]:
        purchases = range(1, len(items), 2)
        expected = [at for at in range(len(items)) if any(at < bought <= at + horizon for bought in purchases)]
        assert list(places) == expected
    for some in batches:
        for batch in some:
            is_event = batch.events[..., 0] > 0
            assert np.array_equal(batch.is_wanted & is_event, (batch.events[..., 1] == question.kind) & is_event)


def test_a_share_is_asked(tmp_path):
    write_sequences(tmp_path, [tuple(range(1, 2 + n % 9)) for n in range(100)])
    (epoch,) = epochs_of(shards_of(tmp_path, 0, ranks=1), batch_size=30, question=Question(2, share=0.3))
    found = [each for batch in epoch for each in of_batch([batch])]
    assert {(len(items), len(places)) for items, places in found} == {
        (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 2), (8, 2), (9, 2),
    }  # fmt: skip
    assert len({places for items, places in found if len(items) == 9}) > 3, "drawn"


def of_batch(batches):
    """Items and asked positions of each customer of some ranks' batches."""
    for batch in batches:
        for row in np.flatnonzero(batch.is_asked.any(axis=1)):
            items = batch.events[row, :, 0]
            yield tuple(items[items > 0].tolist()), tuple(batch.positions[row][batch.is_asked[row]].tolist())


def test_customers_of_a_batch_are_about_as_long(tmp_path):
    random = np.random.default_rng(8)
    write_sequences(tmp_path, [tuple(range(1, 1 + size)) for size in random.integers(2, 90, 600)])
    (epoch,) = epochs_of(shards_of(tmp_path, 0, ranks=1), batch_size=30)
    filled = [(batch.events[..., 0] > 0).mean() for batch in epoch]
    assert np.mean(filled) > 0.9
    assert max(len(batch.events) for batch in epoch) < 60


def test_ranks_have_about_as_many_customers_of_each_batch(tmp_path):
    """If each were drawn by itself, the ranks' halves of 60 would be 3 away from the middle on average."""
    random = np.random.default_rng(8)
    write_sequences(tmp_path, [tuple(range(1, 1 + size)) for size in random.integers(2, 6, 960)])
    both = [list(epoch) for epoch in epochs_of(shards_of(tmp_path, 0, ranks=2), batch_size=60)]
    nums = np.array([[int(batch.is_asked.any(axis=1).sum()) for batch in some] for some in both])
    assert nums.sum() == 960
    assert np.abs(nums - nums.mean(axis=0)).mean() < 2
    assert nums.sum(axis=0).std() < 4


def test_ranks_whose_customers_are_all_as_long_have_as_many_of_each_batch(tmp_path):
    """Of long sequences, which differ by many half items; if the order were drawn for each alone, halves of 120 would be 3 away."""
    write_sequences(tmp_path, [tuple(range(1, 52))] * 3200)
    pair = epochs_of(shards_of(tmp_path, 0, ranks=2), batch_size=240)
    nums = np.array([[int(batch.is_asked.any(axis=1).sum()) for batch in epoch] for epoch in pair])
    assert np.abs(nums - nums.mean(axis=0)).max() <= 2


def test_batches_of_customers_who_are_all_as_long_are_of_one_size(tmp_path):
    write_sequences(tmp_path, [(1, 2)] * 1600)
    (epoch,) = epochs_of(shards_of(tmp_path, 0, ranks=1), batch_size=8)
    nums = [int(batch.is_asked.any(axis=1).sum()) for batch in epoch]
    assert sum(nums) == 1600
    assert min(nums) >= 5
    assert max(nums) <= 11


def test_a_rank_without_usable_rows_asks_nothing_and_takes_part(tmp_path):
    write_sequences(tmp_path, [(1,)] * 20 + [(1, 2)] * 20)
    without, having = epochs_of(shards_of(tmp_path, 0, ranks=2), batch_size=10)
    assert (without.num_batches, having.num_batches) == (2, 2)
    assert [batch.is_asked.any() for batch in without] == [False, False]
    assert sum(batch.is_asked.sum() for batch in having) == 20


def test_what_reads_ahead_gives_all_and_raises_what_went_wrong():
    assert list(read_ahead(iter(range(20)), ahead=2)) == list(range(20))

    def fails():
        yield 1
        raise ValueError("no more")

    reading = read_ahead(fails())
    assert next(reading) == 1
    with pytest.raises(ValueError, match="no more"):
        next(reading)


def test_a_batch_says_which_of_its_items_is_which(tmp_path):
    write_sequences(tmp_path, [(5, 3, 5, 9), (7, 7)])
    (shard,) = shards_of(tmp_path, 0, ranks=1)
    (batch,) = Epoch(shard, 10, Question(3), 7, 0, lambda array: array)
    long = int(np.argmax((batch.events[..., 0] > 0).sum(axis=1)))
    assert batch.events[long, :, 0].tolist() == [5, 3, 5, 9]
    assert batch.events[1 - long, :, 0].tolist() == [7, 7, 0, 0]
    assert batch.candidates[long].tolist() == [3, 5, 9]
    assert batch.candidates[long][batch.places[long]].tolist() == [5, 3, 5, 9]
    assert sorted(batch.positions[long].tolist()) == [0, 1, 2], "never after the last item: nothing is known to come"
    assert batch.positions[1 - long][batch.is_asked[1 - long]].tolist() == [0]


def test_an_encoder_masks_only_what_is_asked(tmp_path):
    """Rows of which fewer are asked than of others are filled up by a place of their own."""
    random = np.random.default_rng(8)
    write_sequences(tmp_path, [tuple(random.integers(1, 99, size)) for size in random.geometric(0.1, 300) + 1])
    (epoch,) = epochs_of(shards_of(tmp_path, 0, ranks=1), batch_size=60, question=Question(20, share=0.3))
    batches = list(epoch)
    assert any(not batch.is_asked.all() for batch in batches)
    for batch in batches:
        for positions, is_asked in zip(batch.positions, batch.is_asked, strict=True):
            assert {*positions.tolist()} == {*positions[is_asked].tolist()}
