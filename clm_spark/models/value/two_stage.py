"""The learned model of value, in two stages: the chance that a customer brings anything, and how much if so."""

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.ml import PipelineModel, Transformer
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.feature import SQLTransformer, VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import ModelError, TooLittleDataError
from clm_spark.evaluation.sums import exact_sum
from clm_spark.models.calibration import without_summary
from clm_spark.models.fixed_order import in_fixed_order
from clm_spark.models.registry.flavours import load_spark_pipeline, save_spark_pipeline
from clm_spark.models.task import Inputs
from clm_spark.models.value import histories
from clm_spark.models.value.model import SAME_CODE, ValueModel
from clm_spark.models.value.settings import TwoStageSettings
from clm_spark.session import persisted
from clm_spark.tables.feature import windowed_name

LABEL = "label"  # net revenue in the horizon, in cents
CENTS_A_UNIT = 10_000.0  # amounts of the order of one keep the least squares well conditioned
ANSWER = "expected_value"

EVER = (
    "tenure_days",
    "recency_days",
    "first_purchase_days",
    "purchase_recency_days",
    "num_purchase_days",
    "num_orders",
    "net_revenue_cents",
    "mean_order_cents",
    "mean_gap_days",
    "overdue_ratio",
    "orders_trend",
)
WINDOWED = ("num_active_days", "num_visits", "num_orders", "num_purchase_days", "num_lines", "net_revenue_cents")
LEARNED_FROM = (
    *EVER,
    *(windowed_name(stem, days) for days in (30, 90, 365) for stem in WINDOWED),
    "mean_order_90d_cents",
    "discount_90d_share",
    "refund_90d_cents",
)


class TwoStage(ValueModel):
    """A logistic regression for whether, a linear one for how much if so; both penalised, on features plain and logged.

    What a customer brings is close to proportional to what they brought, so amounts are predicted as they are: logarithms
    of amounts, and a log link, were far behind (docs/value.md). The product is scaled so that it adds up to what the examples
    brought.
    """

    name = "two_stage"
    words = "two stages: whether, then how much"
    section = TwoStageSettings
    features = tuple(dict.fromkeys((*histories.FEATURES, *LEARNED_FROM)))
    uses = (*SAME_CODE, "clm_spark.models.fixed_order", "clm_spark.models.calibration")

    def fit_own(self, inputs: Inputs, path: str) -> None:
        """Fit both stages and save them as one pipeline. Raises `TooLittleDataError` where examples do not bear it."""
        asked = inputs.settings.of(TwoStageSettings)
        brought = F.col(LABEL) > 0
        labelled = inputs.rows.withColumns({"is_buyer": brought.cast("double"), "units": F.col(LABEL) / CENTS_A_UNIT})
        with persisted(in_fixed_order(labelled, "customer_id", "as_of")) as examples:
            counts = examples.agg(F.count_if(brought).alias("buyers"), F.count_if(~brought).alias("others")).head()
            assert counts is not None
            if counts["buyers"] < asked.min_buyers or not counts["others"]:
                raise TooLittleDataError(
                    f"{counts['buyers']} of {counts['buyers'] + counts['others']} earlier examples brought revenue: "
                    f"{asked.min_buyers} are needed, and some that did not; wait for more closed days"
                )
            fitted = _fitted(examples, regularization=asked.regularization)
        save_spark_pipeline(fitted, path, rows=inputs.rows.select(*self.features), answer=ANSWER)

    def score_own(self, path: str, inputs: Inputs) -> DataFrame:
        """Chance times amount."""
        return (
            load_spark_pipeline(path)
            .transform(inputs.rows)
            .select("customer_id", "as_of", F.col(ANSWER).alias("value"))
        )


def _fitted(examples: DataFrame, *, regularization: float) -> PipelineModel:
    before, kept = _prepared(), (f"log_{name}" for name in LEARNED_FROM)
    prepared = PipelineModel(before).transform(examples)
    whether = LogisticRegression(featuresCol="logged", labelCol="is_buyer", regParam=regularization)
    how_much = LinearRegression(
        featuresCol="plain_and_logged", labelCol="units", predictionCol="amount", regParam=regularization,
        solver="l-bfgs",  # normal equations have no answer where a feature is the same for all
    )  # fmt: skip
    try:
        with persisted(prepared.select("logged", "plain_and_logged", "is_buyer", "units", LABEL, *kept)) as rows:
            chance, amount = whether.fit(rows), without_summary(how_much.fit(rows.where("units > 0")))
            scale = _scale(PipelineModel([amount, _product(chance, 1.0)]).transform(rows))
    except (Py4JJavaError, PySparkException) as error:
        cause = error.java_exception.toString() if isinstance(error, Py4JJavaError) else error
        raise ModelError(f"its examples bear no regression: {str(cause).splitlines()[0]}") from error
    return PipelineModel([*before, amount, _product(chance, scale)])


def _scale(predicted: DataFrame) -> float:
    """What brings the predictions of the examples to what they brought, all together."""
    sums = predicted.agg(
        exact_sum(F.col(LABEL) / CENTS_A_UNIT).alias("came"), exact_sum(F.col(ANSWER) / CENTS_A_UNIT).alias("said")
    )
    came, said = sums.collect()[0]
    return max(came, 0.0) / said if said else 1.0


def _product(whether: LogisticRegressionModel, scale: float) -> SQLTransformer:
    """The chance times the amount, the regression written out: so the pipeline ends in a number."""
    terms = (
        f"{float(weight)!r}D * log_{name}"
        for weight, name in zip(whether.coefficients.toArray(), LEARNED_FROM, strict=True)
    )
    chance = f"1 / (1 + exp(-({float(whether.intercept)!r}D + {' + '.join(terms)})))"
    answer = f"{chance} * greatest(amount, 0D) * {CENTS_A_UNIT * scale!r}D AS {ANSWER}"
    return SQLTransformer(statement=f"SELECT *, {answer} FROM __THIS__")


def _prepared() -> list[Transformer]:
    """Counts, days and cents as they are and on a log scale; the unknown as zero."""
    plain = (f"coalesce(CAST({name} AS DOUBLE), 0D) AS plain_{name}" for name in LEARNED_FROM)
    logged = (f"coalesce(signum({name}) * ln(1 + abs({name})), 0D) AS log_{name}" for name in LEARNED_FROM)
    names = [f"log_{name}" for name in LEARNED_FROM]
    return [
        SQLTransformer(statement=f"SELECT *, {', '.join([*plain, *logged])} FROM __THIS__"),
        VectorAssembler(inputCols=names, outputCol="logged"),
        VectorAssembler(inputCols=[f"plain_{name}" for name in LEARNED_FROM] + names, outputCol="plain_and_logged"),
    ]
