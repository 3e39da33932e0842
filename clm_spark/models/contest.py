"""One comparison of a task's models: who takes part, what they answer, and what is written down of it."""

import json
import logging
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from clm_spark import evaluation, files
from clm_spark.errors import ModelError, TooLittleDataError, in_a_line
from clm_spark.models.catalogue import find_model, model_named, reason_left_out
from clm_spark.models.gate import INCUMBENT, Election
from clm_spark.models.registry import HOLDOUT, ModelVersion, Registry
from clm_spark.models.task import Comparison, Figure, Inputs, Lead, Model, Split, Task, code_of, digest
from clm_spark.signals import raise_if_stopped
from clm_spark.tables.catalog import MODEL_METRICS
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)

# The code that decides how entrants are compared.
TESTING = (
    *(f"{evaluation.__name__}.{found.name}" for found in pkgutil.iter_modules(evaluation.__path__)),
    "clm_spark.features.labels",
    "clm_spark.models.comparison",
    "clm_spark.models.filled_lists",
    "clm_spark.models.gate",
    "clm_spark.models.list_slices",
    "clm_spark.models.slices",
    "clm_spark.lifecycle.rfm",
    __name__,
)


@dataclass(frozen=True)
class Incumbent:
    """The champion in use until the run's day, the folder of it that has not seen the tested days, and its answers from there."""

    version: ModelVersion
    model: Model
    path: str
    answers: DataFrame


@dataclass(frozen=True)
class Contest:
    """A comparison on one split. `before` is the champion in use until the run's day."""

    lake: Lake
    registry: Registry
    task: Task
    split: Split
    entrants: Sequence[Model]
    before: ModelVersion | None
    folders: dict[str, str] = field(default_factory=dict)  # of the holdout models, by entrant

    @cached_property
    def versions(self) -> dict[str, str]:
        """The version that each entrant would be registered as."""
        return {model.name: version_of(model, self.task, self.split, self.before) for model in self.entrants}

    @cached_property
    def name(self) -> str:
        """Names what is compared: the same rows, settings, code and incumbent give the same name."""
        in_use, settings = self.before.version if self.before else "", self.lake.settings
        sections = [getattr(settings, area) for area in self.task.areas]
        sections += [settings.of(self.task.section)] if self.task.section else []
        asked = [section.model_dump_json() for section in sections]
        code = code_of(type(self.task), *TESTING)
        return digest(self.task.name, self.split.fingerprint, *sorted(self.versions.values()), in_use, *asked, code)

    @property
    def is_made(self) -> bool:
        """Whether an earlier run made this comparison with every entrant, and its champion is in use."""
        if not self.lake.exists(MODEL_METRICS):
            return False
        is_ours = (F.col("task") == self.task.name) & (F.col("comparison") == self.name)
        rows = self.lake.read_as_of(MODEL_METRICS).where(is_ours).select("model_version", "is_champion").collect()
        served = self.registry.champion(self.task.name, self.lake.settings.as_of)
        champions, tested = (
            {row.model_version for row in rows if row.is_champion},
            {row.model_version for row in rows},
        )
        # One that could not be trained then may be by now.
        return served is not None and served.version in champions and tested >= {*self.versions.values()}

    @cached_property
    def incumbent(self) -> Incumbent | None:
        """The champion in use, where it can be asked about the tested rows; where not, a warning names why, and it is no defeat."""
        before, split = self.before, self.split
        if before is None:
            return None
        model = find_model(self.task.name, before.model)
        if model is None:
            log.warning("%s is not comparable: no model %r is declared any more", before.version, before.model)
            return None
        has_seen = split.tested_on is not None and before.as_of > split.tested_on and model.is_fitted
        path = f"{before.path}/{HOLDOUT}" if has_seen else before.path
        if (left_out := reason_left_out(model, self.lake.settings)) is not None:
            different: str | None = left_out
        elif has_seen and before.metadata.get("tested_on", "9999") > str(split.tested_on):
            different = f"it has seen days from {split.tested_on} on, which are tested"
        elif model.is_fitted and not files.exists(path):
            different = "its holdout model is not there"
        else:
            different = difference(model, before, path, split.test)
        if different is None:
            try:
                return Incumbent(before, model, path, model.score(path, split.test))
            except ModelError as error:
                different = str(error)
        log.warning("%s is not comparable, and has neither won nor lost: %s", before.version, different)
        return None

    @property
    def incumbent_name(self) -> str:
        """Under which name the incumbent is compared: a rule in use is the entrant itself. Empty where there is none."""
        if self.incumbent is None:
            return ""
        same = (name for name, version in self.versions.items() if version == self.incumbent.version.version)
        return next(same, INCUMBENT)

    def answers(self) -> dict[str, DataFrame]:
        """What every entrant that could be trained and asked answers, and the incumbent.

        Raises `TooLittleDataError` where there is too little for any that may serve, `ModelError` where none of them
        could be trained for another reason.
        """
        answers = {}
        for model in self.entrants:
            path = self.registry.staging(f"{self.task.name}/{self.lake.settings.as_of}/{model.name}")
            try:
                model.fit(self.split.past, path, incumbent=self._in_use(model, is_tested=True))
                answers[model.name] = model.score(path, self.split.test)
            except ModelError as error:
                log.warning("%s takes no part: %s", model.name, error)
                told = self.lake.too_little if isinstance(error, TooLittleDataError) else self.lake.missing
                told.append(f"{model.name}: {error}")
                continue
            except (Py4JJavaError, PySparkException) as error:
                raise_if_stopped()
                log.warning("%s takes no part: Spark could not fit or ask it", model.name, exc_info=error)
                self.lake.missing.append(f"{model.name}: {in_a_line(error)}")
                continue
            self.folders[model.name] = path
        self._check_candidates()
        if self.incumbent is not None and self.incumbent_name == INCUMBENT:
            answers[INCUMBENT] = self.incumbent.answers
        return answers

    def _check_candidates(self) -> None:
        names = [model.name for model in self.entrants if model.may_serve]
        if any(name in self.folders for name in names):
            return
        reason = f"none of {', '.join(names)} could be trained" if names else "evaluation.leave_out names them all"
        has_little = bool(self.lake.too_little) and not self.lake.missing
        raise (TooLittleDataError if has_little else ModelError)(f"{self.task.name} has no new model: {reason}")

    def served(self, election: Election, comparison: Comparison) -> ModelVersion:
        """The version in use from as_of on: the incumbent's, or the winner's, trained on all rows and registered."""
        if self.incumbent is not None and election.winner == self.incumbent_name:
            return self.incumbent.version
        model, version = model_named(self.task.name, election.winner), self.versions[election.winner]
        settings = self.lake.settings
        return self.registry.find(self.task.name, version) or self.registry.register(
            self.task.name,
            model.name,
            version,
            save=lambda path: self._save(model, path),
            params=settings.of(model.section).model_dump() if model.section else {},
            metrics={f"{figure.model}.{figure.metric}": figure.value for figure in comparison.figures},
            inputs=self.lake.inputs,
            metadata={
                "signature": json.dumps(model.signature(self.split.test.rows), sort_keys=True),
                "tested_on": str(self.split.tested_on or ""),
            },
        )

    def write(self, comparison: Comparison, election: Election, served: ModelVersion) -> None:
        """Write gold.model_metrics and what else the task reports."""
        as_of, tested_on = self.lake.settings.as_of, F.lit(self.split.tested_on).cast("date")
        for table, rows in (*comparison.reports(), *comparison.reports_on(election.winner)):
            named = self._with_version(rows).withColumns({"as_of": F.lit(as_of), "tested_on": tested_on})
            named = _with_columns_of(table, named)
            self.lake.replace(named.select(table.schema.names), into=table, as_of=as_of, score=self.task.name)
        metrics = self.lake.spark.createDataFrame(
            list(self._metrics(comparison, election, served)), MODEL_METRICS.schema
        )
        self.lake.replace(metrics, into=MODEL_METRICS, as_of=as_of, task=self.task.name)

    def _save(self, model: Model, path: str) -> None:
        holdout = self.folders[model.name]
        if self.split.now is self.split.past:
            files.move(holdout, path)  # what was tested has seen all there is
            return
        model.fit(self.split.now, path, holdout=holdout, incumbent=self._in_use(model, is_tested=False))
        if model.is_fitted:
            files.move(holdout, f"{path}/{HOLDOUT}")

    def _in_use(self, model: Model, *, is_tested: bool) -> str | None:
        """The folder of the version in use that the model goes on from: what is tested, from what has not seen the tested days."""
        if self.task.keeps_numbers:
            return self._numbered_by
        incumbent = self.incumbent
        if incumbent is None or incumbent.model.name != model.name:
            return None
        return incumbent.path if is_tested else incumbent.version.path

    @cached_property
    def _numbered_by(self) -> str | None:
        """The folder of the version in use, whose numbers go on, also where it takes no part any more."""
        before = self.before
        model = find_model(self.task.name, before.model) if before else None
        if before is None or model is None or not files.exists(before.path):
            return None
        return None if difference(model, before, before.path, self.split.test) else before.path

    def _who(self, name: str) -> tuple[str, str]:
        """Model and version behind a name in the comparison."""
        if name == INCUMBENT and self.incumbent is not None:
            return self.incumbent.model.name, self.incumbent.version.version
        return name, self.versions[name]

    def _with_version(self, rows: DataFrame) -> DataFrame:
        names = [*self.versions, *([INCUMBENT] if self.incumbent_name == INCUMBENT else [])]
        who = [(name, *self._who(name)) for name in names]
        known = self.lake.spark.createDataFrame(who, "_name string, _model string, model_version string")
        both = rows.withColumnRenamed("model", "_name").join(F.broadcast(known), on="_name", how="inner")
        return both.withColumnRenamed("_model", "model").drop("_name")

    def _metrics(
        self, comparison: Comparison, election: Election, served: ModelVersion
    ) -> Iterator[tuple[object, ...]]:
        for figure in comparison.figures:
            model, version = self._who(figure.model)
            row = self._row(figure, election) | {
                "model": model,
                "model_version": version,
                "is_baseline": model_named(self.task.name, model).is_rule,
                "is_champion": version == served.version,
            }
            yield tuple(row[name] for name in MODEL_METRICS.schema.names)

    def _row(self, figure: Figure, election: Election) -> dict[str, object]:
        is_deciding = figure.metric == self.task.decided_by
        lead = election.leads.get(figure.model) if is_deciding else None
        behind = election.margins.get(figure.model) if is_deciding else None
        return {
            "task": self.task.name,
            "is_incumbent": figure.model == self.incumbent_name,
            "metric": figure.metric,
            "as_of": self.lake.settings.as_of,
            "tested_on": self.split.tested_on,
            "value": float(figure.value),
            "low": figure.low,
            "high": figure.high,
            **_lead_columns("lead", lead),
            **_lead_columns("behind", behind),
            "num_tested": figure.num_tested,
            "comparison": self.name,
        }


def _lead_columns(name: str, lead: Lead | None) -> dict[str, float | None]:
    """The columns of a lead and its interval."""
    found = (lead.value, lead.low, lead.high) if lead else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def _with_columns_of(table: Table, rows: DataFrame) -> DataFrame:
    """The rows with null in the table's columns that their task has no use for."""
    unused = [column for column in table.columns if column.nullable and column.name not in rows.columns]
    return rows.withColumns({column.name: F.lit(None).cast(column.type) for column in unused}) if unused else rows


def version_of(model: Model, task: Task, split: Split, before: ModelVersion | None) -> str:
    """The version that training on these rows makes, from rows, settings and code: the same whenever it runs.

    A rule that fits nothing has no day. A model that warm-starts depends on the version in use, `before`, too.
    """
    settings = split.now.settings
    asked = [settings.of(task.section).model_dump_json()] if task.section else []
    parts = [model.code(), *asked, *model.settings_used(settings)]
    parts += [before.version] if model.warm_starts and before and before.model == model.name else []
    if not model.is_fitted:
        return f"{model.name}-{digest(*parts)[:10]}"
    return f"{model.name}-{split.now.as_of}-{digest(split.fingerprint, *parts)[:10]}"


def difference(model: Model, version: ModelVersion, path: str, inputs: Inputs) -> str | None:
    """Why a version does not fit these rows: features that are missing or of another type, or the model's own reasons."""
    expected: dict[str, str] = json.loads(version.metadata.get("signature", "{}"))
    came = {each.name: each.dataType.simpleString() for each in inputs.rows.schema.fields}
    others = [
        f"{name} should be {kind} and is {came.get(name, 'missing')}"
        for name, kind in expected.items()
        if came.get(name) != kind
    ]
    return "; ".join(others) or model.differs(path, inputs)
