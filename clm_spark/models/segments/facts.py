"""What a fitted version says of its segments, in one file of its folder, whichever entrant wrote it."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from clm_spark import files
from clm_spark.models.segments.choice import Candidate

FACTS = "segments.json"


class Facts(BaseModel):
    """Of the segments by number: their names and branches; and what was tried before they were chosen."""

    model_config = ConfigDict(frozen=True)
    next_number: int = 0  # that of the next new segment: after those of the version, and of all that came before it
    names: Mapping[int, str] = {}
    branches: Mapping[int, str] = {}  # where segments are the leaves of a tree: see `branches_of`
    unclear: int | None = None  # the segment of those who are in no cluster, where there is one
    candidates: tuple[Candidate, ...] = ()


def write_facts(facts: Facts, path: str) -> None:
    """Beside the version's other files."""
    files.write_text(f"{path}/{FACTS}", facts.model_dump_json(indent=2))


def read_facts(path: str | None) -> Facts:
    """Those of a version; empty where there is none, or where it was fitted before segments had names."""
    if path is None or not files.exists(f"{path}/{FACTS}"):
        return Facts()
    return Facts.model_validate_json(files.read_text(f"{path}/{FACTS}"))
