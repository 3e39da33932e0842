"""Factor analysis of what customers do."""

from typing import Annotated

from pydantic import Field

from clm_spark.settings.section import Days, Section, Seed


class FactorSettings(Section):
    """On how many customers factors are fitted, how many there are, and when they are fitted anew."""

    sample_customers: Annotated[int, Field(ge=100, le=100_000)] = Field(
        20_000, description="so many, chosen by hash, are fitted to; all are scored"
    )
    min_customers: Annotated[int, Field(ge=20)] = Field(100, description="of fewer customers there are no factors")
    most: Annotated[int, Field(ge=1)] = Field(8, description="so many at most, whatever the parallel analysis says")
    random_samples: Annotated[int, Field(ge=10)] = Field(
        50, description="random data sets of the same size that the parallel analysis holds the customers against"
    )
    same_congruence: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="Tucker's congruence from which a factor is that of the fit before, and keeps its number"
    )
    refit_every_days: Days = Field(28, description="age at which factors are fitted anew")
    seed: Seed = 7
