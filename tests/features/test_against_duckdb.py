"""Every customer feature against an implementation of its own in DuckDB, over the whole log."""

import math
import random
from datetime import timedelta

import duckdb
import pyarrow as pa
from features_in_duckdb import features_sql
from shop_events import events, on
from test_windows import history

from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.tables.catalog import CUSTOMER_FEATURES, EVENTS


def compare(log: pa.Table, mine: list, as_of) -> None:
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("log", log)
        found = db.execute(features_sql("log", as_of=as_of))
        names = [column[0] for column in found.description]
        theirs = {row[0]: dict(zip(names, row, strict=True)) for row in found.fetchall()}
    assert {row.customer_id for row in mine} == set(theirs)
    assert set(names) == set(CUSTOMER_FEATURES.schema.names) - {"as_of"}, "the same features"
    differing = {
        (name, row.customer_id, row[name], theirs[row.customer_id][name])
        for row in mine
        for name in names
        if not equal(row[name], theirs[row.customer_id][name])
    }
    assert not differing


def equal(mine, theirs) -> bool:
    if isinstance(mine, float) and theirs is not None:
        return math.isclose(mine, theirs, rel_tol=1e-12)
    return mine == theirs


def test_drawn_histories(spark):
    log = history(random.Random(5))
    devices = [{"device": "Phone", "channel": "ads"}, {"device": "desktop", "channel": "Email"}, None, {"hit": "1"}]
    log = [
        {**event, "attributes": devices[n % 4], "order_id": f"o{n // 3}" if n % 5 else None}
        for n, event in enumerate(log)
    ]
    frame = events(spark, *log)
    partials = customer_days_from_events(frame, max_gap=timedelta(minutes=30))
    for morning in (on("2023-09-01"), on("2024-02-29")):
        mine = customer_features(partials, days=[morning]).collect()
        assert len(mine) > 30
        compare(frame.select(EVENTS.schema.names).toArrow(), mine, morning)


def test_a_small_shop(small_shop):
    lake = small_shop.lake
    compare(lake.read(EVENTS).toArrow(), lake.read_as_of(CUSTOMER_FEATURES).collect(), lake.settings.as_of)
