"""Content as a source of candidates: items as vectors of their texts, whether anybody bought them or not."""

import logging

import numpy as np
from pyspark.sql import DataFrame
from scipy import sparse

from clm_spark.models.item_texts import item_texts, word_weights
from clm_spark.models.ranker.histories import numbered_items
from clm_spark.models.ranker.lines import Floats, Singles
from clm_spark.models.ranker.settings import CandidateSettings
from clm_spark.models.ranker.truncated_svd import truncated_svd
from clm_spark.models.task import Inputs

log = logging.getLogger(__name__)


def content_at(inputs: Inputs, *, num_items: int) -> Singles | None:
    """Items x at most `content_dimensions`, rows of length 1 or, without a text, 0. None where the source is left out.

    Vectors come from an encoder of Hugging Face on the workers, or from the words of the texts. On the driver come those of
    a bounded vocabulary. Raises `SettingsError` where the encoder cannot be opened, `ModelError` without torch.
    """
    settings = inputs.settings.of(CandidateSettings)
    if not settings.from_content:
        return None
    texts = item_texts(inputs.lake, inputs.as_of, settings.item_text, numbered_items(inputs))
    found = _vectors_of(texts, settings, num_items=num_items)
    if not found.any():
        names = ", ".join(settings.item_text)
        log.warning("no item has a text: expected values of %s in the log; see candidates.item_text", names)
    return found


def _vectors_of(texts: DataFrame, settings: CandidateSettings, *, num_items: int) -> Singles:
    if settings.text_encoder is None:
        return by_words(texts, settings, num_items=num_items)
    from clm_spark.models.transformer.texts import frozen_vectors

    most = settings.text_words
    vectors = frozen_vectors(texts, settings.text_encoder, most_tokens=most, num_items=num_items - 1)
    return reduced(vectors, settings.content_dimensions)


def by_words(texts: DataFrame, settings: CandidateSettings, *, num_items: int) -> Singles:
    """Latent semantic analysis (Deerwester et al. 1990): a truncated SVD of the weights of words, by item index."""
    weighed = word_weights(texts, most_words=settings.text_words).toArrow()  # of a bounded vocabulary
    rows = weighed.sort_by([("item_index", "ascending"), ("word", "ascending")])  # in one order: the SVD is the same
    hashes, words = np.unique(rows["word"].to_numpy(), return_inverse=True)
    shape = (num_items, max(1, len(hashes)))
    weights = sparse.csr_matrix((rows["weight"].to_numpy(), (rows["item_index"].to_numpy(), words)), shape=shape)
    lengths = np.sqrt(np.asarray(weights.multiply(weights).sum(axis=1)).ravel())
    weights = (sparse.diags(1 / np.maximum(lengths, 1e-12)) @ weights).tocsr()
    if shape[1] <= settings.content_dimensions:
        return np.asarray(weights.toarray(), np.float32)
    left, sizes, _ = truncated_svd(weights, settings.content_dimensions, seed=settings.seed)
    return _of_length_one(left * sizes)


def reduced(vectors: Floats, dimensions: int) -> Singles:
    """The rows in the directions in which they differ most, of length 1 again; as they are where they have no more."""
    rows = np.asarray(vectors, np.float32)
    if rows.shape[1] > dimensions:
        _, directions = np.linalg.eigh(rows.T @ rows)
        rows = rows @ directions[:, -dimensions:]
    return _of_length_one(rows)


def _of_length_one(rows: Floats) -> Singles:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)
