"""What MLflow loads for a version without a trained model: it says so when it is asked."""

from typing import Any

from clm_spark.errors import ModelError


class Rule:
    """A rule is part of the job that scores: nothing of it is stored."""

    def predict(self, customers: Any, params: dict[str, Any] | None = None) -> Any:
        """Raise `ModelError`."""
        raise ModelError("this version is a rule, which the scoring job computes: read its scores in the gold tables")


def _load_pyfunc(path: str) -> Rule:
    return Rule()
