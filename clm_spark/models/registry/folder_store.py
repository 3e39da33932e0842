"""The registry in files of the lakehouse, for one that is a URL and has no MLflow: it works on any store.

`models/{task}/{version}.json` is an entry, `models/{task}/champions/{day}` holds the version in use from that day on.
Each is one file that is put in its place whole, so that jobs side by side do not hinder each other.
"""

import json
from dataclasses import dataclass
from datetime import date

from clm_spark import files
from clm_spark.models.registry.store import VERSION, Run, Tags
from clm_spark.settings import Settings

ENTRY = ".json"


@dataclass(frozen=True)
class FolderStore:
    """Entries beside the models' own files."""

    settings: Settings

    def add(self, task: str, tags: Tags, *, source: str, run: Run) -> None:
        """Write the version's entry."""
        entry = {
            "tags": dict(tags),
            "params": dict(run.params),
            "metrics": dict(run.metrics),
            "curves": dict(run.curves),
        }
        files.write_text(
            f"{self._home(task)}/{tags[VERSION]}{ENTRY}", json.dumps(entry, indent=2, sort_keys=True, default=str)
        )

    def entries(self, task: str) -> list[Tags]:
        """The tags of every version."""
        names = [name for name in files.names_in(self._home(task)) if name.endswith(ENTRY)]
        return [json.loads(files.read_text(f"{self._home(task)}/{name}"))["tags"] for name in names]

    def begin_term(self, task: str, version: str, from_on: date) -> None:
        """Write the file of the day."""
        files.write_text(f"{self._home(task)}/champions/{from_on}", version)

    def terms(self, task: str) -> dict[date, str]:
        """From which day on which version is in use."""
        days = files.names_in(f"{self._home(task)}/champions")
        return {date.fromisoformat(day): files.read_text(f"{self._home(task)}/champions/{day}") for day in days}

    def remove(self, task: str, version: str) -> None:
        """Remove the entry; the files of its days stay."""
        files.remove(f"{self._home(task)}/{version}{ENTRY}")

    def _home(self, task: str) -> str:
        return f"{files.as_url(self.settings.lakehouse.path)}/models/{task}"
