"""Daily runs, with late events and stitched persons, give the stages that all purchase days give."""

from datetime import date, timedelta

import pytest
from daily_runs import event
from shop_events import events, sign

from clm_spark.features.partials import update_customer_days
from clm_spark.features.refresh import update_customer_features
from clm_spark.jobs import assign_stages
from clm_spark.lifecycle.refresh import _from_history
from clm_spark.tables.catalog import (
    CUSTOMER_FEATURES,
    IDENTITIES,
    LIFECYCLE_STAGES,
    PURCHASE_RHYTHMS,
    STAGE_TRANSITIONS,
)
from clm_spark.tables.lake import Lake

FIRST = date(2024, 1, 20)
BOUGHT = {"kind": "purchase", "item_id": "pot", "amount_cents": 900}
STEPS = {"purchase_rhythms", "lifecycle_stages", "stage_transitions"}


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def daily_run(lake: Lake, morning: date) -> tuple[Lake, set[str]]:
    """One daily run, as of `morning`: its lake, and the tables that stages were written to."""
    settings = lake.settings.model_copy(update={"as_of": morning})
    today = Lake(lake.spark, settings, job="build_features")
    update_customer_days(today, settings)
    update_customer_features(today, [morning])
    staged = Lake(lake.spark, settings, job="assign_stages")
    assign_stages.run(staged, settings)
    return staged, {write.table.removeprefix("gold.") for write in staged.written}


def stages(lake: Lake) -> dict[str, tuple[str, str, str | None]]:
    return {
        row.customer_id: (row.stage, str(row.since_on), row.from_stage)
        for row in lake.read_as_of(LIFECYCLE_STAGES).collect()
    }


def check(lake: Lake) -> None:
    """Stored stages are those that all purchase days give, and every customer went somewhere or stayed."""
    stored = sorted(lake.read_as_of(LIFECYCLE_STAGES).collect())
    features = lake.read_as_of(CUSTOMER_FEATURES)
    assert stored == sorted(_from_history(lake, features, lake.settings.lifecycle).collect())
    assert sum(row.num_customers for row in lake.read_as_of(STAGE_TRANSITIONS).collect()) == len(stored)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_daily_runs_give_the_stages_of_all_days(new_lake):
    lake = new_lake(lifecycle={"usual_gap_days": 3, "prior_gaps": 1})
    log = [event(n, "weekly", day(n), day(n), **BOUGHT) for n in (0, 7, 14)]
    log += [event(20 + n, "often", day(n), day(n), **BOUGHT) for n in (0, 2, 4, 6, 8, 10, 12, 14)]
    log += [event(40, "looker", day(3), day(3)), event(41, "once", day(8), day(8), **BOUGHT)]
    sign(lake, "start", events(lake.spark, *({**each, "batch_id": "start"} for each in log)))
    today, wrote = daily_run(lake, day(15))
    assert wrote == STEPS
    check(today)
    told = stages(today)
    assert told["often"] == ("loyal", str(day(8)), "growing")
    assert told["looker"] == ("prospect", str(day(3)), None)
    assert told["once"] == ("at_risk", str(day(15)), "new"), "mean 3, spread 3: silence is longer than six days"
    assert [row.as_of.month for row in today.read(PURCHASE_RHYTHMS).orderBy("as_of").collect()] == [1, 2]

    assert daily_run(lake, day(15))[1] == set(), "nothing new"

    # An ordinary day, and one with late events: of a customer known, of one unknown, and of one who only looked.
    bought = [event(50, "often", day(15), day(15), **BOUGHT), event(51, "first", day(15), day(15), **BOUGHT)]
    sign(lake, "b15", events(lake.spark, *({**each, "batch_id": "b15"} for each in bought)))
    today, wrote = daily_run(lake, day(16))
    assert wrote == STEPS - {"purchase_rhythms"}, "the months are as they were"
    check(today)
    assert stages(today)["first"] == ("new", str(day(15)), None)
    late = [
        event(60, "weekly", day(10), day(16), **BOUGHT),
        event(61, "unheard of", day(5), day(16), **BOUGHT),
        event(62, "once", day(2), day(16)),
    ]
    sign(lake, "b16", events(lake.spark, *({**each, "batch_id": "b16"} for each in late)))
    today, _ = daily_run(lake, day(17))
    check(today)
    assert stages(today)["once"] == ("at_risk", str(day(15)), "new")

    # Two ids turn out to be one person.
    link = [("once", day(17), "first", 2, False)]
    lake.replace(lake.spark.createDataFrame(link, IDENTITIES.schema), into=IDENTITIES, known_on=[day(17)])
    today, _ = daily_run(lake, day(18))
    check(today)
    assert set(stages(today)) == {"weekly", "often", "looker", "first", "unheard of"}
    assert stages(today)["first"] == ("activated", str(day(15)), "at_risk"), "the first purchase was the other id's"
