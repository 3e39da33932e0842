"""`implicit`, the contestant of bench_als that runs on one machine, in a virtual environment of its own.

`python als_rivals.py lists MODEL OUT --k 20` reads the factors that Spark saved and writes every customer's list;
`python als_rivals.py fit PAIRS OUT --rank 128 ...` fits factors to pairs of Parquet and writes them as Spark does.
"""

import argparse
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from implicit.cpu.als import AlternatingLeastSquares
from implicit.cpu.topk import topk
from scipy.sparse import csr_matrix


def factors(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices in order, and a row of factors for each."""
    rows = ds.dataset(folder, format="parquet").to_table().sort_by("id").combine_chunks()
    vectors = rows["features"].combine_chunks().flatten().to_numpy()
    return rows["id"].to_numpy(), np.ascontiguousarray(vectors.reshape(len(rows), -1), dtype=np.float32)


def write_lists(asked: argparse.Namespace) -> dict[str, float]:
    begun = time.monotonic()
    (customers, customer_vectors), (items, item_vectors) = (
        factors(f"{asked.model}/{s}Factors") for s in ("user", "item")
    )
    read = time.monotonic()
    best, scores = topk(item_vectors, customer_vectors, asked.k, num_threads=asked.cores)
    ranked = time.monotonic()
    columns = {
        "customer_index": np.repeat(customers, asked.k),
        "rank": np.tile(np.arange(1, asked.k + 1, dtype=np.int32), len(customers)),
        "item_index": items[best.ravel()],
        "relevance": scores.ravel().astype(np.float64),
    }
    pq.write_table(pa.table(columns), asked.out)
    return {"seconds": time.monotonic() - begun, "of which topk": ranked - read}


def write_factors(asked: argparse.Namespace) -> dict[str, float]:
    """With confidence 1 + alpha r as elsewhere; `implicit` takes it as it is, and penalises every row alike."""
    rows = ds.dataset(asked.model, format="parquet").to_table()
    begun = time.monotonic()
    customers, customer_rows = np.unique(rows["customer_index"].to_numpy(), return_inverse=True)
    items, item_rows = np.unique(rows["item_index"].to_numpy(), return_inverse=True)
    confidences = (1 + asked.alpha * rows["strength"].to_numpy()).astype(np.float32)
    model = AlternatingLeastSquares(
        factors=asked.rank, regularization=asked.regularization, alpha=1.0, iterations=asked.iterations,
        num_threads=asked.cores, random_state=7,
    )  # fmt: skip
    model.fit(csr_matrix((confidences, (customer_rows, item_rows))), show_progress=False)
    seconds = time.monotonic() - begun
    for name, indices, vectors in (("user", customers, model.user_factors), ("item", items, model.item_factors)):
        features = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), asked.rank)
        table = pa.table({"id": indices, "features": features.cast(pa.list_(pa.float32()))})
        pq.write_table(table, f"{asked.out}-{name}Factors.parquet")
    return {"seconds": seconds}


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("what", choices=["lists", "fit"])
    ask.add_argument("model")
    ask.add_argument("out")
    ask.add_argument("--k", type=int, default=20)
    ask.add_argument("--rank", type=int, default=128)
    ask.add_argument("--iterations", type=int, default=4)
    ask.add_argument("--alpha", type=float, default=0.2)
    ask.add_argument("--regularization", type=float, default=0.1)
    ask.add_argument("--cores", type=int, default=2)
    asked = ask.parse_args()
    print(json.dumps({"lists": write_lists, "fit": write_factors}[asked.what](asked)))


if __name__ == "__main__":
    main()
