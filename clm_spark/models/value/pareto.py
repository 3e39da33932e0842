"""Pareto/NBD as an entrant: another law of when customers stop, with the same amounts."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.models.task import Inputs
from clm_spark.models.value import pareto_nbd
from clm_spark.models.value.estimates import Histories, order_cents
from clm_spark.models.value.fit import fit_by_likelihood, total_of
from clm_spark.models.value.histories import DAYS_A_WEEK, FEATURES, HISTORY, SPEND, counted, purchase_histories
from clm_spark.models.value.law import Law
from clm_spark.models.value.model import SAME_CODE, Batches, ValueModel, read_law, write_law
from clm_spark.models.value.pareto_nbd import ParetoNbd
from clm_spark.models.value.settings import ValueSettings
from clm_spark.session import persisted
from clm_spark.tables.catalog import CUSTOMER_FEATURES

Floats = NDArray[np.float64]

PARAMETERS = "pareto_nbd.json"


class ParetoOrders(ValueModel):
    """Pareto/NBD for how often, Gamma-Gamma for how much. It gives no interval."""

    name = "pareto_nbd"
    words = "Pareto/NBD and Gamma-Gamma"
    features = FEATURES
    uses = (*SAME_CODE, "clm_spark.models.value.pareto_nbd")

    def fit_own(self, inputs: Inputs, path: str) -> None:
        """Write both laws. Raises `TooLittleDataError` where too few customers have bought again."""
        law = write_law(inputs, path)
        histories = purchase_histories(inputs.read(CUSTOMER_FEATURES))
        with persisted(counted(histories, *HISTORY)) as rows:
            orders = fit_orders(rows, num_customers=law.num_customers)
        files.write_text(f"{path}/{PARAMETERS}", json.dumps(asdict(orders), indent=2))

    def fit_law(self, inputs: Inputs, path: str) -> None:
        """It is written already."""

    def score_own(self, path: str, inputs: Inputs) -> DataFrame:
        """Expected orders times what one is expected to bring."""
        orders = ParetoNbd(**json.loads(files.read_text(f"{path}/{PARAMETERS}")))
        rows = purchase_histories(inputs.rows).select("customer_id", "as_of", *HISTORY, *SPEND)
        weeks = inputs.settings.of(ValueSettings).horizon_days / DAYS_A_WEEK
        answers = "customer_id string, as_of date, value double"
        return rows.mapInArrow(_valuing(read_law(path), orders, weeks=weeks), answers)

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """A fallback where no law of amounts could be fitted, and all orders bring the same."""
        return super().score(path, inputs).withColumn("is_fallback", F.lit(read_law(path).spend is None))


def fit_orders(rows: DataFrame, *, num_customers: int) -> ParetoNbd:
    """Fit Pareto/NBD to histories counted by `counted`; persist them."""

    def terms(parameters: Floats, columns: Sequence[Floats]) -> tuple[Floats, Floats]:
        repeats, last, age = columns
        return pareto_nbd.log_likelihood_terms(ParetoNbd(*parameters), repeats, last, age)

    found = fit_by_likelihood(total_of(rows, terms), np.array([1.0, 10.0, 1.0, 10.0]), num_customers=num_customers)
    return ParetoNbd(*map(float, found.parameters))


def _valuing(law: Law, orders: ParetoNbd, *, weeks: float) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def valued(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            asked = Histories(*(batch.column(name).to_numpy() for name in (*HISTORY, *SPEND)))
            ahead = pareto_nbd.expected_orders(orders, asked.repeats, asked.last, asked.age, weeks=weeks)
            value = pa.array(ahead * order_cents(law, asked))
            columns = [batch.column("customer_id"), batch.column("as_of"), value]
            yield pa.RecordBatch.from_arrays(columns, names=["customer_id", "as_of", "value"])

    return valued
