"""What all models of value share, and the one that is a law of purchases."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import ClassVar

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.errors import ModelError, TooLittleDataError
from clm_spark.models.task import Inputs, Model
from clm_spark.models.value.estimates import ESTIMATES, Histories, estimates
from clm_spark.models.value.histories import FEATURES, HISTORY, SPEND, purchase_histories
from clm_spark.models.value.law import PERIOD_DAYS, Law, fit_law
from clm_spark.models.value.settings import ValueSettings
from clm_spark.tables.catalog import CUSTOMER_FEATURES
from clm_spark.tables.contract import Table

Batches = Iterable[pa.RecordBatch]

TASK = "value"
LAW = "law.json"
ROWS_AT_ONCE = 250_000  # customers whose histories are looked at together: many are the same
OWN = ("value", "value_low", "value_high")
FURTHER = (*(name for name in ESTIMATES if name not in OWN), "value_by_formula")
SAME_CODE = tuple(
    f"clm_spark.models.value.{name}"
    for name in ("arrays", "bg_nbd", "gamma_gamma", "fit", "histories", "law", "estimates", "predictive", "settings")
)


class ValueModel(Model):
    """Its answers have customer_id, as_of, `value` in cents, bounds where it gives any, `is_fallback`, and FURTHER.

    FURTHER is what the shop's law of purchases says, whichever model says the value; it is fitted with the version that
    is put into use, and missing where too few customers have bought again.
    """

    task = TASK
    inputs: ClassVar[tuple[Table, ...]] = (CUSTOMER_FEATURES,)
    uses = SAME_CODE

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Train the model's own part; and the law, where the model is about to be used."""
        self.fit_own(inputs, path)
        if holdout is not None:
            self.fit_law(inputs, path)

    def fit_law(self, inputs: Inputs, path: str) -> None:
        """Write the law of the shop's purchases, as known that morning, or why there is none."""
        try:
            write_law(inputs, path)
        except TooLittleDataError as error:
            inputs.lake.too_little.append(f"{self.name} is used without further scores: {error}")

    @abstractmethod
    def fit_own(self, inputs: Inputs, path: str) -> None:
        """Train on `inputs`, and write something into the folder at `path`."""

    @abstractmethod
    def score_own(self, path: str, inputs: Inputs) -> DataFrame:
        """One row per customer and as_of, with `value`."""

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """The model's own value, beside what the law says."""
        own = self.score_own(path, inputs)
        bounds = {name: F.lit(None).cast("double") for name in OWN[1:] if name not in own.columns}
        answers = own.withColumns({**bounds, "is_fallback": F.lit(False)})
        if not files.exists(f"{path}/{LAW}"):
            return answers.withColumns({name: F.lit(None).cast("double") for name in FURTHER})
        further = by_law(read_law(path), inputs).select("customer_id", "as_of", *FURTHER)
        return answers.join(further, on=["customer_id", "as_of"], how="left")


class LawOfPurchases(ValueModel):
    """BG/NBD for how often, Gamma-Gamma for how much: expected orders times what one is expected to bring."""

    name = "bg_nbd"
    words = "BG/NBD and Gamma-Gamma"
    features = FEATURES

    def fit_own(self, inputs: Inputs, path: str) -> None:
        """Write the law. Raises `TooLittleDataError` where too few customers have bought again."""
        write_law(inputs, path)

    def fit_law(self, inputs: Inputs, path: str) -> None:
        """It is the model."""

    def score_own(self, path: str, inputs: Inputs) -> DataFrame:
        """Expected net revenue with its interval."""
        return by_law(read_law(path), inputs)

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """As the law says; a fallback where no law of amounts could be fitted, and all orders bring the same."""
        law = read_law(path)
        return by_law(law, inputs).withColumn("is_fallback", F.lit(law.spend is None))


def write_law(inputs: Inputs, path: str) -> Law:
    """Fit the law and write it into the folder. Raises `TooLittleDataError` where too few customers have bought again."""
    least = inputs.settings.of(ValueSettings).min_repeat_customers
    law = fit_law(inputs.read(CUSTOMER_FEATURES), min_repeat_customers=least)
    files.write_text(f"{path}/{LAW}", law.to_json())
    return law


def read_law(path: str) -> Law:
    """The law of a fitted model. Raises `ModelError` where its folder has none."""
    if not files.exists(f"{path}/{LAW}"):
        raise ModelError(f"{path} holds no law of purchases: train it again")
    return Law.from_json(files.read_text(f"{path}/{LAW}"))


def by_law(law: Law, inputs: Inputs) -> DataFrame:
    """One row per customer who has bought, with ESTIMATES and `value_by_formula`; amounts in cents."""
    asked = inputs.settings.of(ValueSettings)
    kept = ("customer_id", "as_of", "value_by_formula")
    histories = purchase_histories(inputs.rows, formula_value(law, asked).alias("value_by_formula"))
    rows = histories.select(*kept, *HISTORY, *SPEND)
    types = ", ".join(f"{name} double" for name in ("value_by_formula", *ESTIMATES))
    return rows.mapInArrow(_estimating(law, asked, kept), f"customer_id string, as_of date, {types}")


def formula_value(law: Law, asked: ValueSettings) -> Column:
    """Sum over t of ARPU x retention^t / (1 + r)^t, t being periods of 30 days, times the margin: a cross-check in cents.

    ARPU is the customer's own net revenue in 30 days, over all days since the first purchase, 30 at least. Retention is the
    shop's: it knows no customer who has left, which is why it is no more than a check.
    """
    periods = asked.lifetime_days / PERIOD_DAYS
    kept = law.retention / (1 + asked.annual_discount_rate) ** (PERIOD_DAYS / 365.25)
    times = sum(kept**t for t in range(1, int(periods) + 1)) + (periods % 1) * kept ** (int(periods) + 1)
    own = F.col("net_revenue_cents") * PERIOD_DAYS / F.greatest("first_purchase_days", F.lit(PERIOD_DAYS))
    return own * F.lit(asked.margin * times)


def _estimating(law: Law, asked: ValueSettings, kept: tuple[str, ...]) -> Callable[[Batches], Iterator[pa.RecordBatch]]:
    def estimated(batches: Batches) -> Iterator[pa.RecordBatch]:
        for batch in _gathered(batches):
            columns = [batch.column(name).to_numpy() for name in (*HISTORY, *SPEND)]
            found = estimates(law, Histories(*columns), asked)
            arrays = [
                *(batch.column(name) for name in kept),
                *(pa.array(found[name], from_pandas=True) for name in ESTIMATES),
            ]
            yield pa.RecordBatch.from_arrays(arrays, names=[*kept, *ESTIMATES])

    return estimated


def _gathered(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Batches as large as ROWS_AT_ONCE."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(each.num_rows for each in held) >= ROWS_AT_ONCE:
            yield pa.concat_batches(held)
            held = []
    if sum(each.num_rows for each in held):
        yield pa.concat_batches(held)
