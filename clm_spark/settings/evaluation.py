"""How models are compared."""

from typing import Annotated

from pydantic import Field

from clm_spark.settings.section import Section, Seed


class EvaluationSettings(Section):
    """The test of every task's entrants, and the bootstrap that decides between them and the incumbent."""

    replicates: Annotated[int, Field(ge=50)] = Field(500, description="bootstrap samples of the tested customers")
    max_customers: Annotated[int, Field(ge=100)] = Field(
        100_000, description="so many of them, chosen by hash, are resampled; figures come from all"
    )
    folds: Annotated[int, Field(ge=2)] = Field(
        3, description="parts that customers are divided into, for scores that a classifier's fit has not seen"
    )
    seed: Seed = 7
    leave_out: tuple[str, ...] = Field((), description="models that do not take part, by name, e.g. transformer")
    take_in: tuple[str, ...] = Field(
        (), description="models that take part only where they are named here: gbt, transformer_head, svd, nmf"
    )
