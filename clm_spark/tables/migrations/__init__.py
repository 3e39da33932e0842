"""What a release does to stored rows that no declaration can say: one module per step, oldest first in `STEPS`.

`clm migrate` applies the steps that a stored table lacks, in one commit that also makes it a table of today's contract.
The table's properties name the steps that were taken, so that a second run skips them, and a RESTORE brings them back.
"""

from clm_spark.tables.migrations import (
    known_for_learned,
    lists_as_served,
    lists_by_surface,
    metrics_by_version,
    value_for_probability,
)
from clm_spark.tables.migrations.step import Step

STEPS: tuple[Step, ...] = (
    known_for_learned.STEP,
    value_for_probability.STEP,
    lists_as_served.STEP,
    metrics_by_version.METRICS,
    metrics_by_version.DECILES,
    lists_by_surface.STEP,
)


def steps_of(title: str) -> tuple[Step, ...]:
    """The steps of a table, oldest first."""
    return tuple(step for step in STEPS if step.table == title)


__all__ = ["STEPS", "Step", "steps_of"]
