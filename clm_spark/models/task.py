"""The two declarations that everything about models follows from: what is asked, and how it is answered."""

import hashlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

from pyspark import Broadcast, StorageLevel
from pyspark.sql import DataFrame

from clm_spark.errors import ModelError
from clm_spark.models.registry import ModelVersion
from clm_spark.settings import Section, Settings
from clm_spark.tables.contract import Table
from clm_spark.tables.lake import Lake

Value = TypeVar("Value")
BASE_RATE = "base_rate"  # in the place of a model's name where none is in use


@dataclass(frozen=True)
class Inputs:
    """What a model may see on the morning of `as_of`.

    `rows` are the task's own: examples with their label where it trains, the population where it is asked. `held` is what
    models worked out, in Spark's cache or on its workers, for others to use until `close`.
    """

    lake: Lake
    as_of: date
    rows: DataFrame
    held: dict[str, DataFrame | Broadcast[Any]] = field(default_factory=dict, compare=False)

    @property
    def settings(self) -> Settings:
        """Those of the run."""
        return self.lake.settings

    def read(self, table: Table) -> DataFrame:
        """The table as it was known that morning."""
        return self.lake.read_as_of(table, self.as_of)

    def cached(self, name: str, make: Callable[[], DataFrame]) -> DataFrame:
        """What `make` gives, in Spark's cache until `close`: made by the first who asks for `name`."""
        if name not in self.held:
            self.held[name] = make().persist(StorageLevel.MEMORY_AND_DISK)
        found = self.held[name]
        assert isinstance(found, DataFrame)
        return found

    def sent(self, value: Value, name: str | None = None) -> Broadcast[Value]:
        """A copy for every worker, held until `close`: under `name` where others look for it."""
        broadcast = self.lake.spark.sparkContext.broadcast(value)
        self.held[name or f"sent {len(self.held)}"] = broadcast
        return broadcast

    def close(self) -> None:
        """Free what is held. Answers that were made from it are to be read before."""
        while self.held:
            _, held = self.held.popitem()
            if isinstance(held, Broadcast):
                held.destroy()
            else:
                held.unpersist()


@dataclass(frozen=True)
class Split:
    """The rows of one comparison, parted by time.

    Entrants train on `past`, answer for `test`, and are held against `truth`; the champion then trains on `now`.
    """

    past: Inputs
    test: Inputs
    truth: DataFrame
    now: Inputs
    tested_on: date | None
    fingerprint: str  # of the rows: the same rows are not compared twice

    def close(self) -> None:
        """Free what its inputs hold."""
        for inputs in (self.past, self.test, self.now):
            inputs.close()


class Model(ABC):
    """How a task is answered: a fitted model, or a rule. A fitted model is the folder that `fit` writes."""

    name: ClassVar[str]
    task: ClassVar[str]
    words: ClassVar[str]  # as a reader knows it
    section: ClassVar[type[Section] | None] = None
    inputs: ClassVar[tuple[Table, ...]] = ()  # read beside the task's own rows
    features: ClassVar[tuple[str, ...]] = ()  # columns of the task's rows that it needs
    uses: ClassVar[tuple[str, ...]] = ()  # modules beside its own whose code decides what it does
    is_rule: ClassVar[bool] = False  # nothing is trained but, at most, the calibration of its figure
    may_serve: ClassVar[bool] = True  # False: a floor that is only compared with
    is_optional: ClassVar[bool] = False  # takes part only where `evaluation.take_in` names it
    warm_starts: ClassVar[bool] = False  # training goes on from the version in use, and depends on it

    @abstractmethod
    def fit(self, inputs: Inputs, path: str, *, holdout: str | None = None, incumbent: str | None = None) -> None:
        """Train on `inputs` and write the fitted model into the folder at `path`, a URL.

        `holdout` is the folder of this model as it was tested: training may go on from it. `incumbent` is the folder of
        the model in use, where that is one of the same name: training may go on from it, too, since it has seen nothing
        that is tested. Or the task keeps numbers: those that its answers bear may be taken over.
        """

    @abstractmethod
    def score(self, path: str, inputs: Inputs) -> DataFrame:
        """The answers of the fitted model at `path` for the rows of `inputs`, in the shape of the task."""

    def explain(self, path: str, inputs: Inputs, *, outcome: str) -> DataFrame:
        """As `score`, for answers that are written: with `reasons`, in words, where the model can give them.

        `outcome` says in words what the answers are about.
        """
        return self.score(path, inputs)

    @property
    def is_fitted(self) -> bool:
        """Whether something in its folder was learned from rows, so that it must not be tested on these."""
        return not self.is_rule or bool(self.features)

    def settings_used(self, settings: Settings) -> list[str]:
        """What of the settings decides how it is fitted, as text: its own section."""
        return [settings.of(self.section).model_dump_json()] if self.section else []

    def differs(self, path: str, inputs: Inputs) -> str | None:
        """Why the fitted model cannot be asked about `inputs`, in words; None where it can."""
        return None

    def rekey(self, path: str, *, lake: Lake, links: Sequence[bytes], key: str) -> None:  # noqa: B027 - most need none
        """Bring pseudonyms in the folder under a further key; most models hold none."""

    @classmethod
    def signature(cls, rows: DataFrame) -> dict[str, str]:
        """Name and type of every feature, as `rows` have them."""
        return {name: rows.schema[name].dataType.simpleString() for name in cls.features}

    @classmethod
    def code(cls) -> str:
        """A digest of the code that decides what the model does: its own module, its bases' and those it uses."""
        return code_of(cls, *cls.uses)


class Task(ABC):
    """What is asked: of whom, when it counts as right, and where the answers go."""

    name: ClassVar[str]
    question: ClassVar[str]
    grain: ClassVar[str]  # what an answer is about
    population: ClassVar[str]
    label: ClassVar[str]
    outcome: ClassVar[str] = ""  # what an answer is about, as in "makes ... more likely"
    metrics: ClassVar[tuple[str, ...]]
    decided_by: ClassVar[str]  # the metric whose highest value elects
    train_job: ClassVar[str]
    score_job: ClassVar[str]
    section: ClassVar[type[Section] | None] = None
    areas: ClassVar[tuple[str, ...]] = ("evaluation",)  # settings that its comparison depends on, beside its section
    reads: ClassVar[tuple[Table, ...]]  # to train and test
    asks: ClassVar[tuple[Table, ...]]  # to score
    looks_up: ClassVar[tuple[Table, ...]] = ()  # when answers are written; most may lack the day
    writes: ClassVar[tuple[Table, ...]]  # answers
    keeps_numbers: ClassVar[bool] = False  # a model takes over those of the one in use, whichever that is
    reports: ClassVar[tuple[Table, ...]] = ()  # written beside gold.model_metrics when models are compared

    def horizon_days(self, settings: Settings) -> int | None:
        """How many days from as_of on the label looks at; None: no day ahead counts."""
        return None

    def reason_to_train(self, lake: Lake, incumbent: ModelVersion | None) -> str | None:
        """Why models are compared in this run, in words; None: the incumbent stays without a comparison."""
        return "every run"

    @abstractmethod
    def split(self, lake: Lake) -> AbstractContextManager[Split]:
        """The rows of the comparison. Raises `ModelError` where there is too little of them."""

    @abstractmethod
    def population_rows(self, lake: Lake) -> Inputs:
        """Whom the champion is asked about on the morning of the run."""

    def check_looked_up(self, lake: Lake) -> None:  # noqa: B027 - most do without
        """Raise `SettingsError` where answers of as_of cannot be written for want of a table of `looks_up`."""

    @abstractmethod
    def compare(self, answers: Mapping[str, DataFrame], split: Split) -> "Comparison":
        """Figures of every entrant's answers against the truth, and the sample that intervals come from."""

    @abstractmethod
    def write(self, lake: Lake, answers: DataFrame, served: ModelVersion) -> None:
        """Put the champion's answers into the task's tables."""

    def write_fallback(self, lake: Lake) -> str | None:
        """Write what can be said without a model, marked as such, and give it in words; None: nothing can be said."""
        return None


@dataclass(frozen=True)
class Figure:
    """One metric of one entrant."""

    model: str
    metric: str
    value: float
    num_tested: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Lead:
    """By how much one entrant is ahead of another in the deciding metric, on the same customers."""

    value: float
    low: float
    high: float


class Comparison(ABC):
    """What came of a test."""

    figures: tuple[Figure, ...]

    @abstractmethod
    def leads(self, of: Sequence[str], over: str) -> dict[str, Lead]:
        """The paired differences of the deciding metric, with 95 % intervals that hold together."""

    def reports(self) -> Iterator[tuple[Table, DataFrame]]:
        """Further rows to write, without as_of and version."""
        return iter(())

    def reports_on(self, winner: str) -> Iterator[tuple[Table, DataFrame]]:
        """As `reports`: rows on the one that is served."""
        return iter(())


def digest(*parts: str) -> str:
    """sha-256 over texts, hexadecimal."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_of(cls: type, *uses: str) -> str:
    """A digest of the code of a class: its own module, its bases' and those that it uses."""
    bases = [base.__module__ for base in cls.__mro__ if base.__module__.startswith("clm_spark.models.")]
    return source_digest({*bases, *uses} - {__name__})


def source_digest(modules: Iterable[str]) -> str:
    """A digest of the modules' code, in the order of their names."""
    return digest(*(_source(module) for module in sorted(modules)))


@lru_cache
def _source(module: str) -> str:
    """A module's source, from a folder or from a zip, without importing it: not every machine has torch."""
    found = importlib.util.find_spec(module)
    source = getattr(found.loader, "get_source", None) if found and found.loader else None
    text = source(module) if source else None
    if text is None:
        raise ModelError(
            f"the source of {module} is not there: a model's version is made of it; install clm-spark with its sources"
        )
    return str(text)
