"""Candidates and what trees are told of them, against the same by plain loops over drawn histories."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from clm_spark.models.ranker import scores as scores_module
from clm_spark.models.ranker.candidates import candidates_of
from clm_spark.models.ranker.content import reduced
from clm_spark.models.ranker.features import GROUPS, NEVER, as_trees_know, features_with, unknown_as
from clm_spark.models.ranker.knowledge import (
    DAMPING,
    basket_vectors,
    bought_next,
    bought_with,
    facts_of,
    item_sums,
    knowledge_of,
)
from clm_spark.models.ranker.lines import histories_of
from clm_spark.models.ranker.reasons import reasons_of
from clm_spark.models.ranker.scores import CategoryScores, DenseScores, SparseScores
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.sources import (
    ALS,
    CONTENT,
    NEAREST,
    NEIGHBOURS,
    NEXT,
    OF_CATEGORY,
    TRANSFORMER,
    WITH,
    CandidateOptions,
    blocks_of,
)

NUM_CUSTOMERS, NUM_ITEMS, RECENT = 40, 25, 28
SETTINGS = CandidateSettings(
    own=6,
    looked_at=3,
    popular=4,
    from_neighbours=5,
    from_items=4,
    neighbours=7,
    neighbours_per_item=5,
    tastes=3,
    als_rank=4,
    from_als=5,
    from_category=4,
    from_content=3,
)
CATEGORIES = np.arange(NUM_ITEMS) % 4
CONTENTS = reduced(np.random.default_rng(1).normal(size=(NUM_ITEMS, 5)), 5)


def drawn_histories(seed=3):
    """Of each customer the age of every basket, latest first, with its items; and the looks as (item, age)."""
    random = np.random.default_rng(seed)
    found = []
    for customer in range(NUM_CUSTOMERS):
        days = sorted(random.choice(np.arange(1, 120), random.integers(0 if customer == 5 else 1, 9), replace=False))
        baskets = {
            int(day): sorted(random.choice(NUM_ITEMS, random.integers(1, 6), replace=False).tolist()) for day in days
        }
        looks = [(int(random.integers(NUM_ITEMS)), int(random.integers(1, 40))) for _ in range(3)]
        found.append((baskets, sorted({(i, a) for i, a in looks if i not in baskets.get(a, [])})))
    return found


HISTORIES = drawn_histories()


def batch_of(histories, *, first_key=100):
    lines = [
        [(item, age, 2.0, 2.0 + item, 0.0) for age, items in baskets.items() for item in items]
        + [(item, age, 0.0, 0.0, 1.0) for item, age in looks]
        for baskets, looks in histories
    ]
    kinds = {
        "items": pa.int32(),
        "ages": pa.int32(),
        "units": pa.float32(),
        "spent": pa.float32(),
        "looks": pa.float32(),
    }
    columns = {
        name: pa.array([[line[place] for line in each] for each in lines], pa.list_(kind))
        for place, (name, kind) in enumerate(kinds.items())
    }
    keys = pa.array(range(first_key, first_key + len(histories)), pa.int64())
    return pa.RecordBatch.from_pydict({"customer_key": keys, **columns})


@pytest.fixture(scope="module")
def histories():
    return histories_of(batch_of(HISTORIES), num_items=NUM_ITEMS, longest=1000)


@pytest.fixture(scope="module")
def known(histories):
    sums = item_sums(histories.bought, recent_days=RECENT)
    return knowledge_of(sums, CATEGORIES, histories, settings=SETTINGS, contents=CONTENTS)


def vector_of(baskets):
    """TIFU-KNN's vector by its description: groups of equal size, the latest full, decays .9 within and .7 across."""
    vector, ages = np.zeros(NUM_ITEMS), sorted(baskets)
    size = -(-len(ages) // 7) if ages else 1
    groups = [ages[start : start + size] for start in range(0, len(ages), size)]
    for back, group in enumerate(groups):
        for within, age in enumerate(group):
            vector[baskets[age]] += 0.9**within / len(group) * 0.7**back / len(groups)
    return vector


VECTORS = np.array([vector_of(baskets) for baskets, _ in HISTORIES])


def test_vectors_of_baskets(histories):
    assert np.allclose(basket_vectors(histories.bought).toarray(), VECTORS, atol=1e-6)


def test_a_long_history_is_cut_at_its_latest_lines():
    bought = histories_of(batch_of(HISTORIES), num_items=NUM_ITEMS, longest=4).bought
    for customer, (baskets, looks) in enumerate(HISTORIES):
        lines = [(age, item, True) for age, items in baskets.items() for item in items]
        latest = sorted([*lines, *((age, item, False) for item, age in looks)])[:4]
        expected = sorted((item, age) for age, item, is_bought in latest if is_bought)
        is_own = bought.customers == customer
        assert sorted(zip(bought.items[is_own], bought.ages[is_own], strict=True)) == expected


def test_facts_of_items(histories):
    sums = item_sums(histories.bought, recent_days=RECENT)
    for item in range(NUM_ITEMS):
        ages = [sorted(age for age, items in baskets.items() if item in items) for baskets, _ in HISTORIES]
        ages = [each for each in ages if each]
        flat = [age for each in ages for age in each]
        expected = {
            "buyer_days": len(flat),
            "recent_buyer_days": sum(age <= RECENT for age in flat),
            "last_buyer_days": sum(age <= RECENT // 4 for age in flat),
            "buyers": len(ages),
            "repeat_buyers": sum(len(each) > 1 for each in ages),
            "owners": sum(each[-1] > RECENT for each in ages),
            "returned": sum(each[-1] > RECENT and each[0] <= RECENT for each in ages),
            "gap_days": sum(each[-1] - each[0] for each in ages),
            "gaps": sum(len(each) - 1 for each in ages),
            "units": 2 * len(flat),
            "spent": (2 + item) * len(flat),
            "first_age": max(flat, default=0),
        }
        kept = could = 0
        for baskets, _ in HISTORIES:
            days = sorted(baskets)
            for later, earlier in pairwise(days):
                could += item in baskets[earlier]
                kept += item in baskets[earlier] and item in baskets[later]
        expected |= {"kept": kept, "could_be_kept": could}
        assert {name: sums[name][item] for name in expected} == expected
    facts = facts_of(sums)
    assert np.allclose(facts["price"], 1 + np.arange(NUM_ITEMS) / 2)


def cells_of(block, source):
    customers, items = np.divmod(np.arange(NUM_CUSTOMERS * NUM_ITEMS), NUM_ITEMS)
    return block.score(source).at(customers, items).reshape(NUM_CUSTOMERS, NUM_ITEMS)


def nearest_votes(nearness, weights):
    votes = np.zeros((NUM_CUSTOMERS, NUM_ITEMS))
    for customer in range(NUM_CUSTOMERS):
        others = [o for o in np.argsort(-nearness[customer], kind="stable") if o != customer][: SETTINGS.neighbours]
        total = sum(weights[customer, o] for o in others)
        votes[customer] = sum(weights[customer, o] * VECTORS[o] for o in others) / max(total, 1e-12)
    return votes


def test_neighbours_and_nobody_is_their_own(known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
    scaled = VECTORS / np.maximum(np.linalg.norm(VECTORS, axis=1, keepdims=True), 1e-12)
    cosine = scaled @ scaled.T
    who = [c for c in range(NUM_CUSTOMERS) if VECTORS[c].any()]
    assert np.allclose(cells_of(block, NEIGHBOURS)[who], nearest_votes(cosine, cosine)[who], atol=1e-5)
    distance = ((VECTORS[:, None] - VECTORS[None]) ** 2).sum(axis=2)
    assert np.allclose(cells_of(block, NEAREST)[who], nearest_votes(-distance, np.ones_like(distance))[who], atol=1e-5)


def test_a_customer_of_few_is_told_of_the_others_alone(known):
    everybody = SETTINGS.model_copy(update={"neighbours": NUM_CUSTOMERS + 5})
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(everybody, RECENT))
    others = (VECTORS.sum(axis=0) - VECTORS) / (NUM_CUSTOMERS - 1)
    assert np.allclose(cells_of(block, NEAREST), others, atol=1e-5)


def test_items_bought_together_and_after(histories, known):
    together, after, before = Counter(), Counter(), Counter()
    num_baskets = Counter()
    for baskets, _ in HISTORIES:
        days = sorted(baskets)
        for items in baskets.values():
            num_baskets.update(items)
            for a in items:
                together.update({(a, b): 1 / len(items) for b in items if b != a})
        for later, earlier in pairwise(days):
            before.update(baskets[earlier])
            after.update((a, b) for a in baskets[earlier] for b in baskets[later] if a != b)
    both = {WITH: np.zeros((NUM_ITEMS, NUM_ITEMS)), NEXT: np.zeros((NUM_ITEMS, NUM_ITEMS))}
    for (a, b), count in together.items():
        both[WITH][a, b] = count / np.sqrt((num_baskets[a] + DAMPING) * (num_baskets[b] + DAMPING))
    for (a, b), count in after.items():
        both[NEXT][a, b] = count / (before[a] + DAMPING)
    for matrix, found in ((both[WITH], known.bought_with), (both[NEXT], known.bought_next)):
        for item, row in enumerate(found.toarray()):
            kept = np.sort(matrix[item])[::-1][: SETTINGS.neighbours_per_item]
            assert np.allclose(np.sort(row[row > 0])[::-1], kept[kept > 0], atol=1e-6)
            assert np.allclose(row[row > 0], matrix[item][row > 0], atol=1e-6)


def test_what_is_told_of_the_customer_with_the_item(histories, known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
    found = candidates_of(block)
    told = [dict(zip(features_with(SETTINGS), row, strict=True)) for row in found.features.tolist()]
    seen = set()
    for customer, item, row in zip(found.customers, found.items, told, strict=True):
        baskets, looks = HISTORIES[customer]
        days, of_category = (
            sorted(baskets),
            [age for age, items in baskets.items() for other in items if CATEGORIES[other] == CATEGORIES[item]],
        )
        ages = [age for age in days if item in baskets[age]]
        look_ages = sorted(age for looked, age in looks if looked == item)
        category_look_ages = [age for looked, age in looks if CATEGORIES[looked] == CATEGORIES[item]]
        gap = (ages[-1] - ages[0]) / (len(ages) - 1) if len(ages) > 1 else np.nan
        expected = {
            "days": len(ages),
            "units": 2 * len(ages),
            "age": ages[0] if ages else np.nan,
            "first_age": ages[-1] if ages else np.nan,
            "gap": gap,
            "gap_deviation": np.std(np.diff(ages)) if len(ages) > 2 else np.nan,
            "due": ages[0] / gap if ages else np.nan,
            "share": len(ages) / len(days) if days else np.nan,
            "place": days.index(ages[0]) if ages else np.nan,
            "share_since_first": len(ages) / (days.index(ages[-1]) + 1) if ages else 0,
            "recent_days": sum(age <= RECENT for age in ages),
            "days_of_three": sum(age <= 3 * RECENT for age in ages),
            "fading": sum(0.8 ** days.index(age) for age in ages),
            "slow_decay": sum(0.5 ** (age / RECENT / 2) for age in ages),
            "basket_vector": VECTORS[customer][item],
            "looks": len(look_ages),
            "look_age": look_ages[0] if look_ages else np.nan,
            "category_looks_share": len(category_look_ages) / max(1, len(looks)),
            "category_look_age": min(category_look_ages, default=np.nan),
            "baskets": len(days),
            "basket_size": np.mean([len(items) for items in baskets.values()]) if days else np.nan,
            "last_age": days[0] if days else np.nan,
            "category_days": len(set(of_category)),
            "category_age": min(of_category, default=np.nan),
            "category_share": len(of_category) / sum(map(len, baskets.values())) if days else np.nan,
            "price": 1 + item / 2,
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-4, nan_ok=True)
        seen.add((customer, item))
    assert len(seen) == len(told), "each pair once"
    for customer, (_, looks) in enumerate(HISTORIES):
        own = np.argsort(-VECTORS[customer], kind="stable")[: SETTINGS.own]
        assert {(customer, int(item)) for item in own if VECTORS[customer][item] > 0} <= seen
        assert len({item for c, item in seen if c == customer}) >= 4, "whoever bought nothing is shown what is popular"
        assert {(customer, item) for item, _ in looks} <= seen or len({item for item, _ in looks}) > SETTINGS.looked_at


@pytest.mark.parametrize("products", [1, 10])
def test_blocks_of_pairs_change_nothing(histories, known, monkeypatch, products):
    monkeypatch.setattr("clm_spark.models.ranker.knowledge.PRODUCTS", products)
    for pairs, whole in ((bought_with, known.bought_with), (bought_next, known.bought_next)):
        found = pairs(histories.bought, kept=SETTINGS.neighbours_per_item)
        assert found.shape == whole.shape
        assert np.array_equal(found.toarray(), whole.toarray())


def test_blocks_and_batches_change_nothing(known, monkeypatch):
    asked = CandidateOptions(SETTINGS, RECENT)
    (whole,) = (candidates_of(block) for block in blocks_of([batch_of(HISTORIES)], known, asked))
    monkeypatch.setattr("clm_spark.models.ranker.sources.MOST_CUSTOMERS", 7)
    cut = [batch_of(HISTORIES[:19]), batch_of(HISTORIES[19:], first_key=119)]
    parts = [candidates_of(block) for block in blocks_of(cut, known, asked)]
    assert len(parts) == 6
    assert np.array_equal(np.concatenate([part.items for part in parts]), whole.items)
    told = np.concatenate([part.features for part in parts])
    assert np.allclose(told, whole.features, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_who_only_looks_is_told_of_the_same_whoever_is_beside_them(known):
    looker = ({}, [(3, 5), (4, 9)])
    asked = CandidateOptions(SETTINGS, RECENT)
    (alone,) = (candidates_of(block) for block in blocks_of([batch_of([looker])], known, asked))
    (beside,) = (candidates_of(block) for block in blocks_of([batch_of([looker, *HISTORIES])], known, asked))
    own = beside.customers == 0
    assert np.array_equal(alone.items, beside.items[own])
    assert np.allclose(alone.features, beside.features[own], rtol=1e-5, atol=1e-6, equal_nan=True)


def test_seen_items_are_hidden(known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT, hides_seen=True))
    found = candidates_of(block)
    for customer, item in zip(found.customers, found.items, strict=True):
        baskets, looks = HISTORIES[customer]
        assert not any(item in items for items in baskets.values())
        assert item not in {looked for looked, _ in looks}


def test_trees_are_told_a_number_for_what_is_not_known(known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
    names, found = features_with(SETTINGS), candidates_of(block).features
    told = as_trees_know(found, names)
    is_known = np.isfinite(found)
    assert np.isfinite(told).all()
    np.testing.assert_array_equal(told[is_known], found[is_known])
    assert set(told[~is_known]) == {100_000.0}
    both = as_trees_know(np.array([[np.nan, np.inf], [3, np.nan]], np.float32), ["age", "price_over_usual"])
    assert both.tolist() == [[100_000.0, -1.0], [3.0, -1.0]]
    for place, name in enumerate(names):
        values, other = found[is_known[:, place], place], told[~is_known[:, place], place]
        if len(other):
            assert set(other) == {unknown_as(name)}
            assert other[0] > values.max() if other[0] > 0 else other[0] < values.min(), name


def test_scores_held_in_any_way_give_the_same_candidates(known, monkeypatch):
    found = []
    for full in (0.0, 2.0):  # all as cells, none
        monkeypatch.setattr(scores_module, "FULL", full)
        (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
        found.append(candidates_of(block))
        kinds = {type(block.score(source)) for source in (NEIGHBOURS, NEAREST, WITH, NEXT, OF_CATEGORY)}
        assert kinds == ({DenseScores} if full == 0 else {SparseScores, CategoryScores})
    for name in ("customers", "items", "features"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name), err_msg=name)


def strengths_of(baskets):
    """Of each item, what its baskets count: .95 for every one that came after."""
    own = np.zeros(NUM_ITEMS)
    for place, age in enumerate(sorted(baskets)):
        own[baskets[age]] += 0.95**place
    return own


def taken_by(customer):
    """What the customer's purchases and looks count, by item."""
    baskets, looks = HISTORIES[customer]
    by_age = {age: [item for item, at in looks if at == age] for _, age in looks}
    return strengths_of(baskets) + SETTINGS.look_weight * strengths_of(by_age)


def test_als_scores_are_those_of_the_customers_exact_factors(known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
    items = known.als.astype(float)
    assert items.shape == (NUM_ITEMS, SETTINGS.als_rank)
    for customer in range(NUM_CUSTOMERS):
        weights = SETTINGS.als_alpha * taken_by(customer)
        wanted = (weights > 0).astype(float)
        penalty = SETTINGS.als_regularization * wanted.sum() * np.eye(SETTINGS.als_rank)
        system = items.T @ (items * (1 + weights)[:, None]) + penalty
        own = np.linalg.solve(system, items.T @ (wanted + weights)) if wanted.any() else np.zeros(SETTINGS.als_rank)
        np.testing.assert_allclose(cells_of(block, ALS)[customer], items @ own, atol=2e-3)


def test_a_source_that_is_left_out_has_no_feature_and_no_candidates(histories):
    settings = SETTINGS.model_copy(update={"from_als": 0, "from_category": 0, "from_content": 0})
    sums = item_sums(histories.bought, recent_days=RECENT)
    known = knowledge_of(sums, CATEGORIES, histories, settings=settings)
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(settings, RECENT))
    found = candidates_of(block)
    names = features_with(settings)
    left_out = {ALS, OF_CATEGORY, CONTENT, TRANSFORMER}
    assert set(names) == {name for group in GROUPS.values() for name in group} - left_out
    assert found.features.shape == (len(found.items), len(names))
    assert not left_out & set(block.scores), "nor are all items scored by it"
    with_all = features_with(SETTINGS.model_copy(update={"from_transformer": 4}))
    assert set(with_all) == {name for group in GROUPS.values() for name in group}
    assert [name for name in with_all if name in names] == list(names), "in the same order"


def test_the_reason_is_the_group_that_adds_most_of_those_that_the_trees_know():
    names = features_with(SETTINGS.model_copy(update={"from_als": 0, "from_category": 0, "from_content": 0}))
    features, added = np.ones((3, len(names)), np.float32), np.full((3, len(names) + 1), -1.0, np.float32)
    added[0, names.index(NEXT)] = 2.0
    added[1, names.index("baskets")] = 50.0  # of the customer, whatever the item
    added[1, names.index("price")], added[1, names.index("price_over_usual")] = 3.0, 3.0
    # Nothing speaks for the third: the least that speaks against it is said, never a source that is left out.
    assert reasons_of(names, features, added) == [
        "often in the next basket after what the customer bought",
        "costs 1.00, as the customer's purchases do",
        "often in a basket with what the customer buys",
    ]
    assert reasons_of(names, features[:0], added[:0]) == []


def test_a_reason_is_true():
    names = features_with(SETTINGS.model_copy(update={"from_als": 0, "from_content": 0}))
    usual = {name: np.nan if unknown_as(name) == NEVER else 0.0 for name in names} | {"item_days": 3.0, "price": np.nan}
    price = {"price": 900.0, "price_over_usual": 1.4}
    cases = [  # what weighs most, what is known, the reason
        ("days", {"days": 1.0, "age": 4.0}, "bought once, 4 days ago"),
        ("days", {}, "bought by customers 3 times, 0 of late"),
        ("look_age", {"look_age": 2.0}, "looked at 2 days ago"),
        ("look_age", {"category_look_age": 5.0}, "looked at others of its category 5 days ago"),
        ("look_age", {}, "bought by customers 3 times, 0 of late"),
        ("category_gap", {"category_age": 6.0}, "bought of its category 6 days ago"),
        ("category_gap", {}, "bought by customers 3 times, 0 of late"),
        ("price", price, "costs 900.00, as the customer's purchases do"),
        ("price", price | {"price_over_usual": 300.0}, "bought by customers 3 times, 0 of late"),
        ("price", {}, "bought by customers 3 times, 0 of late"),
        (WITH, {WITH: 0.1}, "often in a basket with what the customer buys"),
        (WITH, {}, "bought by customers 3 times, 0 of late"),
        (NEIGHBOURS, {NEAREST: 0.1}, "bought by customers whose baskets are alike"),
        (NEIGHBOURS, {}, "bought by customers 3 times, 0 of late"),
        (OF_CATEGORY, {"item_days": 0.0}, "bought by nobody yet"),
    ]
    features = np.array([[(usual | known)[name] for name in names] for _, known, _ in cases], np.float32)
    added = np.array([[5.0 if name == heaviest else 0.0 for name in (*names, "all")] for heaviest, *_ in cases])
    assert reasons_of(names, features, added) == [reason for *_, reason in cases]


def test_what_sells_in_the_customers_categories(known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
    recent = Counter(i for baskets, _ in HISTORIES for age, items in baskets.items() if age <= RECENT for i in items)
    of_category = Counter()
    for item, count in recent.items():
        of_category[item % 4] += count
    for customer, (baskets, looks) in enumerate(HISTORIES):
        lines = Counter(item % 4 for items in baskets.values() for item in items)
        looked = Counter(item % 4 for item, _ in looks)
        in_all = lines.total() + SETTINGS.look_weight * looked.total()
        weighed = [lines[item % 4] + SETTINGS.look_weight * looked[item % 4] for item in range(NUM_ITEMS)]
        share = np.array(weighed) / max(in_all, 1e-12)
        expected = [share[item] * recent[item] / max(1, of_category[item % 4]) for item in range(NUM_ITEMS)]
        np.testing.assert_allclose(cells_of(block, OF_CATEGORY)[customer], expected, atol=1e-6)


def test_what_is_like_what_the_customer_took_to(known):
    (block,) = blocks_of([batch_of(HISTORIES)], known, CandidateOptions(SETTINGS, RECENT))
    found = candidates_of(block)
    for customer in range(NUM_CUSTOMERS):
        taken = taken_by(customer) @ CONTENTS
        expected = CONTENTS @ taken / max(np.linalg.norm(taken), 1e-12)
        np.testing.assert_allclose(cells_of(block, CONTENT)[customer], expected, atol=1e-5)
        best = np.argsort(-expected, kind="stable")[: SETTINGS.from_content]
        assert set(best[expected[best] > 0]) <= set(found.items[found.customers == customer])
