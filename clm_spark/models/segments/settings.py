"""What segments are asked for, whichever entrant cuts them."""

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from clm_spark.settings import Days, Section, Seed


class SegmentSettings(Section):
    """How many segments, how sure they must be, and when they are fitted anew."""

    key: ClassVar[str] = "segments"
    k_from: Annotated[int, Field(ge=2)] = 3
    k_to: Annotated[int, Field(ge=2)] = 8
    min_stability: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.8,
        description="k is the one of the highest silhouette among those whose bootstrap refits agree at least so much with "
        "the fit (mean adjusted Rand index; 1: the same customers are together each time); where none does, the most stable",
    )
    max_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, description="of the customers in one segment: numbers of segments that put more into one are not chosen"
    )
    refits: Annotated[int, Field(ge=2)] = Field(10, description="bootstrap refits per k")
    sample_customers: Annotated[int, Field(ge=100, le=100_000)] = Field(
        5_000, description="so many, chosen by hash, decide k; the chosen k is then fitted to all"
    )
    starts: Annotated[int, Field(ge=1)] = Field(3, description="random starts of a fit, of which the tightest counts")
    refit_every_days: Days = Field(28, description="age at which the segments in use are compared with a new fit")
    refit_on_drift: bool = Field(True, description="compare at once when a feature they are cut by has drifted")
    seed: Seed = 7

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> "SegmentSettings":
        if self.k_from > self.k_to:
            raise ValueError("segments.k_from must not be above segments.k_to")
        return self
