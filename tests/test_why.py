"""What made a day of a table is told from its commits, and what that was made of from the versions it read."""

from datetime import date, timedelta

import pytest
from shop_events import at, events, on, sign

from clm_spark.errors import SettingsError
from clm_spark.jobs import build_features
from clm_spark.tables.catalog import CUSTOMER_DAYS, CUSTOMER_FEATURES, EVENTS, SESSIONS
from clm_spark.tables.lake import Lake
from clm_spark.why import reasons

FIRST = on("2024-02-01")


def look(who: str, day: date, batch: str) -> dict[str, object]:
    return {"event_id": f"{who} {day}", "customer_id": who, "occurred_at": at(str(day)), "batch_id": batch}


def test_why_says_what_a_day_was_made_of(new_lake):
    lake = new_lake(features={"panel_size": 1})
    sign(lake, "start", events(lake.spark, look("a", FIRST, "start")))
    seen = lake.version(EVENTS)
    morning = FIRST + timedelta(days=1)
    settings = lake.settings.model_copy(update={"as_of": morning})
    build_features.run(Lake(lake.spark, settings, job="build_features"), settings)
    sign(lake, "later", events(lake.spark, look("a", morning, "later")))

    made = {reason.table.title: reason for reason in reasons(lake, CUSTOMER_FEATURES, morning)}
    features, partials = made[CUSTOMER_FEATURES.title], made[CUSTOMER_DAYS.title]
    assert (features.depth, partials.depth) == (0, 1)
    assert features.commit.values("as_of") == [str(morning)]
    assert features.commit.mark["job"] == "build_features"
    assert features.commit.mark["settings"] == settings.digest
    assert features.commit.inputs[CUSTOMER_DAYS.title] == partials.commit.version
    assert made[EVENTS.title].commit.version == seen < lake.version(EVENTS), "the version that was read, not the newest"

    with pytest.raises(SettingsError, match=f"made were {morning} to {morning}"):
        list(reasons(lake, CUSTOMER_FEATURES, FIRST))
    with pytest.raises(SettingsError, match="it was never made"):
        list(reasons(lake, SESSIONS, morning))
