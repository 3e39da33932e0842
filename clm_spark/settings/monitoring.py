"""When a model in use is worth a second look."""

from typing import Annotated

from pydantic import Field

from clm_spark.settings.section import Days, Section


class MonitoringSettings(Section):
    """Limits of gold.model_monitoring, beside those of drift; what passes one is said in the run's summary."""

    max_age_days: Days = Field(120, description="since the model in use was trained")
    max_miscalibration: Annotated[float, Field(gt=1)] = Field(
        1.5, description="times by which what came may be above or below what was predicted"
    )
    max_drifted_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, description="share of the model's features that may have drifted"
    )
    min_customers: Annotated[int, Field(ge=1)] = Field(
        200, description="with fewer customers scored no figure of what came passes a limit: it is mostly chance"
    )
