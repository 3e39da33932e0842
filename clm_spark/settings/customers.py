"""Customers: their pseudonyms, identities, bots and visits."""

import re
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from clm_spark.settings.section import Section


class BotSettings(Section):
    """Which days of customers are flagged as a bot's. A rule without a limit is not applied."""

    leave_out: bool = Field(True, description="build visits, features and interactions without flagged customers' days")
    max_per_minute: Annotated[int, Field(ge=1)] | None = Field(
        60, description="views, clicks, searches and carts in one minute of the clock that a person may make"
    )
    max_per_day: Annotated[int, Field(ge=1)] | None = Field(2000, description="the same in a day")
    carts_without_view: Annotated[int, Field(ge=1)] | None = Field(
        20, description="this many carts on a day without a view are a bot's, where the source has views that day"
    )
    max_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.2,
        description="of the customers' days searched: where more are flagged, the run warns that they may be people",
    )
    user_agents: str | None = Field(
        r"(?i)(?<!cu)bot|crawl|spider|slurp|headless|phantomjs|python-requests|scrapy|^(curl|wget)/",
        description="regular expression over attributes.user_agent; Cubot makes telephones",
    )

    @field_validator("user_agents")
    @classmethod
    def _is_an_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"expected a regular expression ({error})") from None
        return pattern


class PrivacySettings(Section):
    """The key of customers' pseudonyms (exactly one is named), and whether bronze holds raw ids in the clear."""

    key_file: str | None = Field(
        None,
        description="file with the key of the pseudonyms, after a change of key with a line for each, oldest first; "
        "conf/demo.key is public",
    )
    key_secret: str | None = Field(None, description="the same in a Databricks secret: scope/name")
    key_env: str | None = Field(None, description="the same in the environment variable of this name")
    keep_raw_ids: bool = Field(
        False,
        description="leave raw records in bronze unencrypted; otherwise they are encrypted by the key of the pseudonyms",
    )

    @model_validator(mode="after")
    def _names_one_key(self) -> "PrivacySettings":
        named = [name for name in ("key_file", "key_secret", "key_env") if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(
                f"{' and '.join(named)} are set: expected exactly one; set the others to null "
                f"(--set privacy.{named[0]}=null)"
            )
        return self


class IdentitySettings(Section):
    """Identity stitching. A change applies to links found from then on."""

    max_logins_per_visitor: Annotated[int, Field(ge=1)] = Field(
        2, description="a visitor id with more logins is a shared device and is not stitched"
    )
    max_ids_per_person: Annotated[int, Field(ge=2)] = Field(
        500,
        description="a larger group of linked ids is not stitched; a person may have many, as some cookies last a week",
    )


class SessionizeSettings(Section):
    """How events become visits."""

    max_gap_minutes: Annotated[int, Field(ge=1)] = 30
