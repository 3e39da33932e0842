"""A head on customers: what the transformer makes of their events, as features of a logistic regression."""

from datetime import date
from typing import Annotated, ClassVar

from pydantic import Field
from pyspark.ml import Transformer as Stage
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import files
from clm_spark.errors import TooLittleDataError
from clm_spark.models.calibration import PROBABILITY
from clm_spark.models.classifier import LABEL, Classifier
from clm_spark.models.classifier import Stage as AnyStage
from clm_spark.models.customer_inputs import FEATURES, logged_features
from clm_spark.models.known_items import other_item, save_items
from clm_spark.models.registry.flavours import save_spark_pipeline
from clm_spark.models.task import Inputs
from clm_spark.models.transformer.model import (
    MODULES,
    copy_network,
    network_width,
    sequences_by,
    train_network,
    why_not_asked,
)
from clm_spark.models.transformer.settings import TransformerSettings
from clm_spark.settings import Section, Settings
from clm_spark.tables.catalog import EVENTS, ITEM_SEQUENCES, ITEM_VOCABULARY

VECTOR = "vector_"
TRAINED_ON = "trained_on.txt"  # the morning whose sequences the network is of


class HeadSettings(Section):
    """A head on the transformer that tells what a customer will do."""

    key: ClassVar[str] = "transformer_head"
    regularization: Annotated[float, Field(ge=0)] = 0.05
    with_features: bool = Field(True, description="whether it sees the customer's features, too")


class TransformerHead(Classifier):
    """Logistic regression on the network's output vector after the customer's last event, and on logged features.

    The network is trained to tell the next item, on the sequences as they were on the first morning of the rows: on no
    row it has seen what came after. Each row's events are those known on its own morning, so gold.item_sequences must
    have the days of the panel (`features.panel_sequences`).
    """

    name = "transformer_head"
    words = "transformer with a head"
    is_optional = True
    section = HeadSettings
    features = FEATURES
    inputs = (ITEM_SEQUENCES, ITEM_VOCABULARY, EVENTS)
    uses = (*Classifier.uses, *MODULES, "clm_spark.models.customer_inputs", "clm_spark.models.transformer.model")

    def settings_used(self, settings: Settings) -> list[str]:
        """Its own, the network's, and what sequences are made by."""
        of_network = settings.of(TransformerSettings).model_dump_json()
        return [*super().settings_used(settings), of_network, sequences_by(settings)]

    def stages(self, settings: Settings) -> list[AnyStage]:
        """Logged features beside the vectors, then the regression."""
        asked = settings.of(HeadSettings)
        vectors = [f"{VECTOR}{place}" for place in range(settings.of(TransformerSettings).width)]
        before: list[Stage] = []
        if asked.with_features:
            *before, logged = logged_features(self.features)
            assert isinstance(logged, VectorAssembler)
            vectors += logged.getInputCols()
        together = VectorAssembler(inputCols=vectors, outputCol="features")
        return [*before, together, LogisticRegression(labelCol=LABEL, regParam=asked.regularization)]

    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Train the network, then the regression and the sigmoid, and save all."""
        first = _first_day(inputs)
        if holdout and files.read_text(f"{holdout}/{TRAINED_ON}") == str(first):
            copy_network(holdout, path)  # of the same sequences: it would be the same
        else:
            train_network(inputs, path, as_of=first, checkpoints=f"{self.task}_head")
        files.write_text(f"{path}/{TRAINED_ON}", str(first))
        save_items(path, inputs)
        rows = self._with_vectors(path, inputs)
        save_spark_pipeline(self.fitted(rows, inputs.settings), path, rows=self._asked(rows), answer=PROBABILITY)

    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """One row per customer and as_of: the calibrated probability as `value`."""
        rows = self._with_vectors(path, inputs)
        return super().score(path, Inputs(inputs.lake, inputs.as_of, rows, inputs.held))

    def explain(self, path: str, inputs: Inputs, *, outcome: str) -> DataFrame:
        """As `score`; the numbers of a vector are no reasons."""
        return self.score(path, inputs).withColumn("reasons", F.lit(None).cast("array<string>"))

    def differs(self, path: str, inputs: Inputs) -> str | None:
        """Whether an index stands for another item by now, sequences of a day are missing, or torch is."""
        why = why_not_asked(path, inputs.settings) or other_item(path, inputs)
        missing = _days_without(inputs)
        return why or (f"gold.item_sequences has nothing of {', '.join(map(str, missing))}" if missing else None)

    def _asked(self, rows: DataFrame, *more: str) -> DataFrame:
        vectors = [name for name in rows.columns if name.startswith(VECTOR)]
        return super()._asked(rows, *more, *vectors)

    def _with_vectors(self, path: str, inputs: Inputs) -> DataFrame:
        """The rows with a column per number of the vector; 0 where nothing that the network knows was taken."""
        from clm_spark.models.transformer.score import customer_vectors

        days = inputs.rows.select("customer_id", "as_of")
        # Not `inputs.read`: each row has its own morning.
        sequences = inputs.lake.read(ITEM_SEQUENCES).join(days, on=["customer_id", "as_of"], how="left_semi")
        vectors = customer_vectors(sequences, model_path=f"{path}/model")
        width = network_width(f"{path}/model")
        both = inputs.rows.join(vectors, on=["customer_id", "as_of"], how="left")
        numbers = {f"{VECTOR}{place}": F.coalesce(F.get("vector", F.lit(place)), F.lit(0.0)) for place in range(width)}
        return both.withColumns(numbers).drop("vector")


def _days_of(inputs: Inputs) -> set[date]:
    """Those of the rows, and the morning of the inputs, which is asked about next; bounded by the panel."""
    return {row[0] for row in inputs.rows.select("as_of").distinct().collect()} | {inputs.as_of}


def _days_without(inputs: Inputs) -> list[date]:
    """The days of which there are no sequences."""
    asked = _days_of(inputs)
    sequences = inputs.lake.read(ITEM_SEQUENCES).where(F.col("as_of").isin([*asked]))
    return sorted(asked - {row[0] for row in sequences.select("as_of").distinct().collect()})


def _first_day(inputs: Inputs) -> date:
    """The earliest day of the rows. Raises `TooLittleDataError` where the sequences of one of their days are missing."""
    missing = _days_without(inputs)
    if missing:
        raise TooLittleDataError(
            f"the transformer's head cannot be trained: gold.item_sequences has nothing of {', '.join(map(str, missing))}; "
            "set features.panel_sequences=true and run build_interactions, or take "
            "transformer_head out of evaluation.take_in"
        )
    return min(_days_of(inputs))
