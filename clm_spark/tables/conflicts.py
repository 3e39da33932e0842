"""Writers of the same table at the same time: Delta lets one commit, and the others write again."""

import logging
from collections.abc import Callable, Mapping, Sequence

from delta.exceptions import (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentTransactionException,
    ConcurrentWriteException,
    MetadataChangedException,
    ProtocolChangedException,
)
from pyspark.errors import AnalysisException
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from clm_spark.errors import ContractError
from clm_spark.tables.commits import Commit

log = logging.getLogger(__name__)

# A view that another writer is replacing is not there for a moment.
MADE_MEANWHILE = (
    "TABLE_OR_VIEW_ALREADY_EXISTS",
    "TABLE_OR_VIEW_NOT_FOUND",
    "DELTA_CREATE_TABLE_WITH_NON_EMPTY_LOCATION",
)
MAX_ATTEMPTS = 10
OVER_ROWS = (
    ConcurrentAppendException,
    ConcurrentDeleteDeleteException,
    ConcurrentDeleteReadException,
    ConcurrentWriteException,
)
# The same batch came in elsewhere, which Delta then leaves out, or the table got a property.
WITHOUT_ROWS = (ConcurrentTransactionException, MetadataChangedException, ProtocolChangedException)


def with_retries(write: Callable[[], object], *, title: str, may_retry: Callable[[], bool] = lambda: True) -> None:
    """Call `write`, and again after pauses of up to ten seconds while other writers come first.

    A conflict over rows is tried again only where `may_retry` allows. Raises `ContractError` when it does not, or when
    the attempts are used up.
    """

    def is_worth_it(error: BaseException) -> bool:
        return isinstance(error, WITHOUT_ROWS) or _is_made(error) or (isinstance(error, OVER_ROWS) and may_retry())

    def say(state: RetryCallState) -> None:
        log.info("%-27s another writer came first: attempt %d", title, state.attempt_number + 1)

    attempts = Retrying(
        retry=retry_if_exception(is_worth_it),
        stop=stop_after_attempt(MAX_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.5, max=10),
        before_sleep=say,
        reraise=True,
    )
    try:
        attempts(write)
    except (*OVER_ROWS, *WITHOUT_ROWS) as error:
        raise ContractError(
            f"{title}: other runs wrote to the same rows meanwhile ({type(error).__name__}); nothing was written: "
            "run the job again when they are done"
        ) from error


def _is_made(error: BaseException) -> bool:
    """Whether another writer made the same table or view meanwhile, or is about to register it."""
    return isinstance(error, AnalysisException) and error.getCondition() in MADE_MEANWHILE


def conflicts_with(slices: Mapping[str, Sequence[str]], others: Sequence[Commit]) -> bool:
    """Whether one of these commits may have changed rows of our `slices`."""
    return any(_may_overlap(slices, commit) for commit in others if commit.changes_rows)


def _may_overlap(slices: Mapping[str, Sequence[str]], commit: Commit) -> bool:
    theirs = {column: commit.values(column) for column in slices}
    return all(values is None or bool(set(values) & set(slices[column])) for column, values in theirs.items())
