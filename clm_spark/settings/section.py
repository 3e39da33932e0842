"""What every group of settings is."""

from typing import Annotated, ClassVar
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _is_zone(name: str) -> str:
    # Bare names such as CST or EST mean more than one place, and not the same to all who read them.
    if name != "UTC" and not ("/" in name and name in available_timezones()):
        raise ValueError("expected UTC or an IANA name such as Europe/Vienna")
    return name


ZoneName = Annotated[str, AfterValidator(_is_zone)]


MOST_DAYS = 36_500  # "ever" of a shop: the calendar ends where many times as many are subtracted from a day
Days = Annotated[int, Field(ge=1, le=MOST_DAYS)]

MOST_LISTED = 10_000  # a customer's candidates stand in one row
NumItems = Annotated[int, Field(ge=1, le=MOST_LISTED)]

# Of random numbers: what NumPy, torch, XGBoost and Spark all take.
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    key: ClassVar[str] = ""  # a model's or a task's section: its name in the settings files
