"""What a user can get wrong. Each message says what was expected, what came, where, and what to do."""


class UserError(Exception):
    """A mistake that the user can correct: the command line prints its text as one line and exits with 2."""


class SettingsError(UserError):
    """Settings that are unknown, malformed or contradict each other."""


class SourceError(UserError):
    """Raw data that is missing, empty or of another format than its source declares."""


class ContractError(UserError):
    """A frame or a stored table that differs from what `tables/catalog/` declares."""


class ModelError(UserError):
    """A model that is missing, or that the store of models cannot give."""
