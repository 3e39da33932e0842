"""The one flow of every task: train and test all models on the same days, elect, train the winner on all, and score."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta

from clm_spark import files
from clm_spark.errors import ModelError, NoModelInUseError, TooLittleDataError
from clm_spark.models.catalogue import MODELS, TASKS, entrants_of, model_named
from clm_spark.models.contest import Contest, difference
from clm_spark.models.gate import elect
from clm_spark.models.made_days import check_made
from clm_spark.models.registry import HOLDOUT, Registry
from clm_spark.models.task import Task
from clm_spark.tables.lake import Lake

log = logging.getLogger(__name__)

ONE_DAY = timedelta(days=1)
TASKS_OF_0_1 = ("als", "transformer")  # which release 0.1 had beside today's; their versions stay


def train(lake: Lake, task: Task) -> None:
    """Compare the task's models, put the best in use from as_of on, and write how all did to gold.model_metrics.

    A comparison of the same rows, settings, code and incumbent that was made before is found, and nothing is done.
    Raises `TooLittleDataError` where there is too little to train or to test on, `SettingsError` where that is for want
    of the task's tables of as_of, and `ModelError` where no model could be trained for another reason.
    """
    registry, as_of = Registry(lake.settings), lake.settings.as_of
    before = registry.champion(task.name, as_of - ONE_DAY)
    reason = task.reason_to_train(lake, before)
    if reason is None:
        return
    with _unless_not_made(lake, task), task.split(lake) as split, closing(split):
        contest = Contest(lake, registry, task, split, entrants_of(task, lake.settings), before)
        if contest.is_made:
            log.info("%s: the same models were compared on the same rows before", task.name)
            return
        log.info("%s: %d models are compared (%s)", task.name, len(contest.entrants), reason)
        answers = contest.answers()
        comparison = task.compare(answers, split)
        election = elect(
            comparison,
            metric=task.decided_by,
            entrants=[model.name for model in contest.entrants if model.may_serve],
            floors=[model.name for model in contest.entrants if not model.may_serve],
            incumbent=contest.incumbent_name,
        )
        served = contest.served(election, comparison)
        if registry.champion(task.name, as_of) != served:
            registry.elect(served, from_on=as_of)
        contest.write(comparison, election, served)  # last: what it says is in use by then
    registry.staging(f"{task.name}/{as_of}")  # what the others left there is removed
    registry.retire(task.name)


def score(lake: Lake, task: Task) -> None:
    """Let the champion of as_of answer for everybody in the task's population, and write the answers.

    Where none is in use, what the task can say without one is written, and the run says so. Raises `ModelError` where
    that is nothing, or the one in use does not fit today's rows, `TooLittleDataError` where there is nobody to ask, and
    `SettingsError` where that, or that answers cannot be written, is for want of the task's tables of as_of.
    """
    served = Registry(lake.settings).champion(task.name, lake.settings.as_of)
    fallback = task.write_fallback(lake) if served is None else None
    if fallback is not None:
        log.warning("%s: no model is in use: %s", task.name, fallback)
        lake.too_little.append(f"no {task.name} model is in use: {fallback}")
        return
    if served is None:
        raise NoModelInUseError(
            f"no {task.name} model is in use on {lake.settings.as_of}: expected one that won a comparison by then; "
            f"run {task.train_job} for that day, or read in its log why it elected none",
            train_job=task.train_job,
        )
    model = model_named(task.name, served.model)
    with closing(task.population_rows(lake)) as inputs:
        different = difference(model, served, served.path, inputs)
        if different:
            raise ModelError(
                f"{served.version} does not fit the rows of {inputs.as_of}: {different}; run {task.train_job}"
            )
        if inputs.rows.isEmpty():
            check_made(lake, *task.asks)
            raise TooLittleDataError(
                f"nobody can be asked on {inputs.as_of}: expected {task.population}, and there is none"
            )
        task.check_looked_up(lake)  # before the model is asked, which can take long
        task.write(lake, model.explain(served.path, inputs, outcome=task.outcome), served)


@contextmanager
def _unless_not_made(lake: Lake, task: Task) -> Iterator[None]:
    """Too little data is no reason where the tables that hold it were not made for as_of: then that is said."""
    try:
        yield
    except TooLittleDataError:
        check_made(lake, *task.asks)
        raise


def rekey(lake: Lake, *, links: Sequence[bytes], key: str) -> None:
    """Bring the pseudonyms in all models' files under a further key; bounded by the versions that are not retired."""
    registry = Registry(lake.settings)
    for task in (*(task.name for task in TASKS), *TASKS_OF_0_1):
        for version in registry.versions(task):
            named = (model for model in MODELS if model.name == version.model)
            model = next((model for model in named if task in (model.task, *TASKS_OF_0_1)), None)
            for path in (version.path, f"{version.path}/{HOLDOUT}"):
                if model is not None and files.exists(path):
                    model.rekey(path, lake=lake, links=links, key=key)
        registry.staging(task)  # what the last training left is removed
