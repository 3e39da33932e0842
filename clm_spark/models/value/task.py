"""What customers will bring: the task, its rows, its figures, and what it writes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark.errors import TooLittleDataError
from clm_spark.evaluation.amounts import amount_deciles, amount_metrics, sampled_amounts
from clm_spark.evaluation.ranks import with_decile
from clm_spark.features.labels import answered_days, known_labels
from clm_spark.models.comparison import SampledComparison, on_driver, stacked
from clm_spark.models.registry import ModelVersion, fingerprint
from clm_spark.models.task import BASE_RATE, Comparison, Inputs, Model, Split, Task, digest
from clm_spark.models.value.histories import FEATURES as HISTORIES
from clm_spark.models.value.model import TASK, LawOfPurchases
from clm_spark.models.value.pareto import ParetoOrders
from clm_spark.models.value.rules import OwnPace, RecentRevenue
from clm_spark.models.value.settings import ValueSettings
from clm_spark.models.value.two_stage import LABEL, TwoStage
from clm_spark.session import persisted
from clm_spark.settings import Settings
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, CUSTOMER_SCORES, IDENTITIES, SCORE_DECILES
from clm_spark.tables.lake import Lake

SCORES = {  # of gold.customer_scores, by the column of the answers that holds it: unit, and the column's bounds
    "value": ("cents", "value_low", "value_high"),
    "lifetime_value": ("cents", "lifetime_value_low", "lifetime_value_high"),
    "probability_alive": ("probability", None, None),
    "expected_orders": ("orders", None, None),
    "expected_order_cents": ("cents", None, None),
    "value_by_formula": ("cents", None, None),
}

# The simpler first: where two tie, the earlier is served.
ENTRANTS: tuple[Model, ...] = (RecentRevenue(), OwnPace(), LawOfPurchases(), ParetoOrders(), TwoStage())
FEATURES = tuple(dict.fromkeys(name for model in ENTRANTS for name in model.features))  # of 180: the rest is not read


LAW_OF = ("customer_id", "as_of", *HISTORIES)


class Value(Task):
    """Net revenue in the horizon, of every customer who has bought.

    Its answers have customer_id, as_of, the columns of SCORES and of their bounds, and `is_fallback`; its truth customer_id
    and `came`, in cents. The squared error decides: what minimises it is the mean, which is what sums over customers are
    made of. A wrong order, a wrong level and a wrong spread all raise it, while Gini knows the order alone, calibration by
    tenths the level alone, and the absolute error is best for whoever says nothing of those who mostly bring nothing.
    """

    name = TASK
    question = "What will a customer bring in the days to come?"
    grain = "customer"
    population = "every customer who has bought before as_of"
    label = "net revenue in the `value.horizon_days` from as_of on"
    metrics = ("squared_skill", "absolute_skill", "normalised_gini", "decile_calibration", "interval_coverage")
    decided_by = "squared_skill"
    train_job = "train_value"
    score_job = "score_value"
    section = ValueSettings
    reads = (CUSTOMER_FEATURES, CUSTOMER_DAYS, IDENTITIES)
    asks = (CUSTOMER_FEATURES,)
    writes = (CUSTOMER_SCORES,)
    reports = (SCORE_DECILES,)

    def horizon_days(self, settings: Settings) -> int:
        """Those of its section."""
        return settings.of(ValueSettings).horizon_days

    @contextmanager
    def split(self, lake: Lake) -> Iterator[Split]:
        """Tested on the last as_of whose horizon has ended, by what was known on that morning.

        What is trained learns from earlier days of the panel whose horizon had ended by then; a law of purchases from the
        histories of the morning itself.
        """
        horizon_days, as_of = self.horizon_days(lake.settings), lake.settings.as_of
        days = answered_days(lake.settings, horizon_days=horizon_days)
        with ExitStack() as stack:
            rows = stack.enter_context(persisted(self._labelled(lake, days, known_on=as_of)))
            tested_on = _tested_on(rows, horizon_days=horizon_days)
            tested = rows.where(F.col("as_of") == F.lit(tested_on))
            until = tested_on - timedelta(days=horizon_days)
            # Orders that became known only later must not be in what the test's models saw.
            before = self._labelled(lake, [day for day in days if day <= until], known_on=tested_on)
            closed = stack.enter_context(persisted(before))
            yield Split(
                past=Inputs(lake, tested_on, closed),
                test=Inputs(lake, tested_on, tested.drop(LABEL)),
                truth=tested.select("customer_id", F.col(LABEL).alias("came")),
                now=Inputs(lake, as_of, rows),
                tested_on=tested_on,
                # The law of purchases is fitted to all buyers of as_of, labelled or not.
                fingerprint=digest(fingerprint(rows), fingerprint(self.population_rows(lake).rows.select(*LAW_OF))),
            )

    def population_rows(self, lake: Lake) -> Inputs:
        """The buyers of as_of."""
        return Inputs(lake, lake.settings.as_of, _buyers(lake.read_as_of(CUSTOMER_FEATURES)))

    def compare(self, answers: Mapping[str, DataFrame], split: Split) -> Comparison:
        """Errors, Gini and calibration of all entrants, on the same customers."""
        named = stacked(answers).select(
            "model", "customer_id", F.col("value").alias("predicted"), F.col("value_low").alias("low"),
            F.col("value_high").alias("high"),
        )  # fmt: skip
        with persisted(named.join(split.truth, on="customer_id", how="inner")) as tested:
            asked = split.now.settings.evaluation
            deciles = amount_deciles(tested).withColumn("score", F.lit(self.name))
            return SampledComparison.of(
                amount_metrics(tested),
                sampled_amounts(tested, seed=asked.seed, most=asked.max_customers),
                decided_by=self.decided_by,
                settings=asked,
                further=[(SCORE_DECILES, on_driver(deciles))],
            )

    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """A row per customer and score that the answers have, each with its decile."""
        self._write(lake, answers, model=served.model, version=served.version)

    def write_fallback(self, lake: Lake) -> str | None:
        """The base rate: what all buyers brought per day since their first purchase, for the days of the horizon."""
        asked = self.population_rows(lake)
        if asked.rows.isEmpty():
            return None
        per_day = F.greatest(F.try_divide(F.sum("net_revenue_cents"), F.sum("first_purchase_days")), F.lit(0.0))
        of_shop = asked.rows.agg((per_day * self.horizon_days(lake.settings)).alias("value"))
        answers = asked.rows.select("customer_id", "as_of").crossJoin(F.broadcast(of_shop))
        self._write(lake, answers.withColumn("is_fallback", F.lit(True)), model=BASE_RATE, version=BASE_RATE)
        return "everybody gets the base rate of all buyers"

    def _write(self, lake: Lake, answers: DataFrame, *, model: str, version: str) -> None:
        with persisted(answers) as rows:
            scored = [_score_rows(rows, score) for score in SCORES if score in rows.columns]
            stacked_rows = scored[0]
            for more in scored[1:]:
                stacked_rows = stacked_rows.unionByName(more)
            ranked = with_decile(stacked_rows, score="value", within=["as_of", "score"])
            named = ranked.withColumns(
                {
                    "model": F.lit(model),
                    "model_version": F.lit(version),
                    "label": F.lit(None).cast("string"),
                    "reasons": F.lit(None).cast("array<string>"),
                }
            )
            rows_out = named.select(CUSTOMER_SCORES.schema.names)
            lake.replace(rows_out, into=CUSTOMER_SCORES, as_of=lake.settings.as_of, score=list(SCORES))

    def _labelled(self, lake: Lake, days: Sequence[date], *, known_on: date) -> DataFrame:
        """The buyers of `days`, with `label`, the cents that came, by what was known on the morning of `known_on`."""
        features = lake.read(CUSTOMER_FEATURES).where(F.col("as_of").isin(days))
        customers = _buyers(features).select("customer_id", "as_of", *FEATURES)
        horizon_days = self.horizon_days(lake.settings)
        labels = known_labels(lake, customers, days=days, known_on=known_on, horizon_days=horizon_days)
        came = labels.select("customer_id", "as_of", F.col("net_revenue_ahead_cents").cast("double").alias(LABEL))
        return customers.join(came, on=["customer_id", "as_of"], how="inner")


def _buyers(features: DataFrame) -> DataFrame:
    return features.where(F.col("purchase_recency_days").isNotNull())


def _score_rows(answers: DataFrame, score: str) -> DataFrame:
    """One score of the answers, where it has a value."""
    unit, *bounds = SCORES[score]
    low, high = (F.col(name) if name in answers.columns else F.lit(None).cast("double") for name in bounds)
    value = F.col(score).cast("double").alias("value")
    rows = answers.select("customer_id", "as_of", F.lit(score).alias("score"), value, F.lit(unit).alias("unit"),
                          low.alias("low"), high.alias("high"), "is_fallback")  # fmt: skip
    return rows.where("value IS NOT NULL")


def _tested_on(labelled: DataFrame, *, horizon_days: int) -> date:
    """The last as_of of `labelled`. Raises `TooLittleDataError` where there is none, or what came there is all the same."""
    last = labelled.groupBy("as_of").agg(
        F.count("*").alias("num_customers"), F.count_distinct(LABEL).alias("num_amounts")
    ).orderBy(F.desc("as_of")).head()  # fmt: skip
    advice = "give a later --as-of, a larger features.panel_size or a shorter value.horizon_days"
    if last is None:
        raise TooLittleDataError(
            f"value cannot be tested: nobody had bought by a day whose {horizon_days} days to come have passed; {advice}"
        )
    if last["num_amounts"] < 2:
        raise TooLittleDataError(
            f"value cannot be tested: the {last['num_customers']} buyers of {last['as_of']} all brought the same within "
            f"{horizon_days} days; {advice}"
        )
    day: date = last["as_of"]
    return day
