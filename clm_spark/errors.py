"""What a user can get wrong. Each message says what was expected, what came, where, and what to do."""

from py4j.protocol import Py4JJavaError


class UserError(Exception):
    """A mistake that the user can correct: the command line prints its text and exits with 2.

    The text is one line, whatever names of the user it quotes.

    `example` is a record of the user's own log. It is shown, and stored nowhere: it may name a customer.
    """

    def __init__(self, message: str, *, example: str = "") -> None:
        super().__init__(" ".join(message.split()))
        self.example = example


def in_a_line(error: Exception) -> str:
    """The type of an error and the first line of its text, for the text of another; of one that Java threw, Java's own."""
    if isinstance(error, Py4JJavaError):
        return next(iter(str(error.java_exception.toString()).splitlines()), type(error).__name__)
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])


class SettingsError(UserError):
    """Settings that are unknown, malformed or contradict each other."""


class SourceError(UserError):
    """Raw data that is missing, empty or of another format than its source declares."""


class ContractError(UserError):
    """A frame or a stored table that differs from what `tables/catalog/` declares."""


class ModelError(UserError):
    """A model that is missing, or that the store of models cannot give."""


class TooLittleDataError(ModelError):
    """There is too little to learn a model from: nothing is wrong, and nothing is to be done but to wait."""


class NoModelInUseError(ModelError):
    """No model has been chosen by the day that asks for one; `train_job` would choose it."""

    def __init__(self, message: str, *, train_job: str) -> None:
        super().__init__(message)
        self.train_job = train_job
