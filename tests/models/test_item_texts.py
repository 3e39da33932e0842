"""Texts of items and the weights of their words, against scikit-learn's tf-idf."""

import numpy as np
from shop_events import at, events, on, sign, vocabulary
from sklearn.feature_extraction.text import TfidfVectorizer

from clm_spark.models.item_texts import item_texts, word_weights
from clm_spark.models.ranker.content import by_words, content_at, reduced
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.task import Inputs
from clm_spark.tables.catalog import ITEM_VOCABULARY
from clm_spark.tables.lake import Lake


def test_an_items_text_is_what_was_last_known_of_it(lake):
    day = "2024-02-28"
    log = events(
        lake.spark,
        {"item_id": "a", "occurred_at": at(day, "10:00"), "category": "hats", "attributes": {"title": "old hat"}},
        {"item_id": "a", "occurred_at": at(day, "11:00"), "brand": "B", "attributes": {"title": "hat"}},
        {"item_id": "a", "occurred_at": at(day, "12:00"), "attributes": {"colour": "red"}},
        {"item_id": "a", "occurred_at": at("2024-03-02"), "attributes": {"title": "later"}},
        {"item_id": "b", "occurred_at": at(day), "category": "shoes"},
        {"item_id": "c", "occurred_at": at(day)},
        {"item_id": "d", "occurred_at": at(day), "category": "not indexed"},
    )
    sign(lake, "b1", log)
    as_of = on("2024-03-01")
    lake.replace(vocabulary(log.where("item_id != 'd'"), as_of), into=ITEM_VOCABULARY)
    index = {row.item_id: row.item_index for row in lake.read(ITEM_VOCABULARY).collect()}
    found = {row.item_index: row.text for row in item_texts(lake, as_of, ["title", "category", "brand"]).collect()}
    assert found == {index["a"]: "hat. hats. B", index["b"]: "shoes"}


TEXTS = ["Red wool hat", "red HAT, red scarf", "Blue shoe (leather)", "", "leather shoe", "Grüner Hut 42"]


def test_words_count_by_how_rare_they_are(spark):
    texts = spark.createDataFrame(enumerate(TEXTS, start=1), "item_index int, text string").where("text != ''")
    rows = word_weights(texts, most_words=64).collect()
    oracle = TfidfVectorizer(sublinear_tf=True, norm=None, token_pattern=r"(?u)\w+")
    expected = oracle.fit_transform([text for text in TEXTS if text]).toarray()
    for place, index in enumerate(n for n, text in enumerate(TEXTS, start=1) if text):
        found = sorted(row.weight for row in rows if row.item_index == index)
        np.testing.assert_allclose(found, np.sort(expected[place][expected[place] > 0]), rtol=1e-9)
    assert len({row.word for row in rows}) == len(oracle.vocabulary_)
    first = word_weights(texts, most_words=1)
    assert first.count() == 5
    assert first.groupBy("word").count().where("count > 1").count() == 1, "red, twice"


def test_items_of_like_words_are_near_each_other(spark):
    texts = spark.createDataFrame(enumerate(TEXTS, start=1), "item_index int, text string").where("text != ''")
    oracle = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+")
    of_words = np.zeros((7, 10))
    vectors = oracle.fit_transform([text for text in TEXTS if text]).toarray()
    of_words[[1, 2, 3, 5, 6]] = vectors
    whole = by_words(texts, CandidateSettings(), num_items=7)
    np.testing.assert_allclose(whole @ whole.T, of_words @ of_words.T, atol=1e-6)
    # Three directions: what numpy's SVD of the same rows has.
    left, sizes, _ = np.linalg.svd(of_words, full_matrices=False)
    best = left[:, :3] * sizes[:3]
    best /= np.maximum(np.linalg.norm(best, axis=1, keepdims=True), 1e-12)
    found = by_words(texts, CandidateSettings(content_dimensions=3), num_items=7)
    assert found.shape == (7, 3)
    is_told = np.linalg.norm(left[:, :3] * sizes[:3], axis=1) > 1e-6
    np.testing.assert_allclose(
        (found @ found.T)[np.ix_(is_told, is_told)], (best @ best.T)[np.ix_(is_told, is_told)], atol=1e-5
    )


def test_vectors_are_reduced_to_the_directions_that_matter():
    random = np.random.default_rng(3)
    rows = random.normal(size=(50, 3)) @ random.normal(size=(3, 20))
    scaled = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    found = reduced(rows.astype(np.float32), 3)
    np.testing.assert_allclose(found @ found.T, scaled @ scaled.T, atol=1e-4)


def test_items_that_nobody_bought_have_vectors_too(lake):
    day = "2024-02-28"
    log = events(
        lake.spark,
        {"item_id": "a", "occurred_at": at(day), "category": "hats", "brand": "B"},
        {"item_id": "b", "occurred_at": at(day), "category": "hats", "kind": "view"},
        {"item_id": "c", "occurred_at": at(day), "category": "shoes", "brand": "C"},
    )
    sign(lake, "b1", log)
    as_of = on("2024-03-01")
    lake.replace(vocabulary(log, as_of), into=ITEM_VOCABULARY)
    index = {row.item_id: row.item_index for row in lake.read(ITEM_VOCABULARY).collect()}
    rows = lake.read(ITEM_VOCABULARY)
    assert content_at(Inputs(lake, as_of, rows), num_items=4) is None, "left out unless asked for"
    asked = lake.settings.with_section(CandidateSettings(from_content=5))
    found = content_at(Inputs(Lake(lake.spark, asked), as_of, rows), num_items=4)
    alike = found @ found.T
    assert alike[index["a"], index["b"]] > 0.5
    assert abs(alike[index["a"], index["c"]]) < 1e-6
