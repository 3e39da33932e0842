"""Every customer feature against an implementation of its own in DuckDB, over the whole log."""

import random
from datetime import timedelta

from features_in_duckdb import features_sql
from oracle import compare
from shop_events import events, on
from test_windows import history

from clm_spark.features.customer_days import customer_days_from_events
from clm_spark.features.customers import customer_features
from clm_spark.tables.catalog import CUSTOMER_FEATURES, EVENTS


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
        theirs = features_sql("log", as_of=morning)
        compare(frame.select(EVENTS.schema.names).toArrow(), mine, theirs, CUSTOMER_FEATURES)


def test_a_small_shop(small_shop):
    lake = small_shop.lake
    theirs = features_sql("log", as_of=lake.settings.as_of)
    compare(lake.read(EVENTS).toArrow(), lake.read_as_of(CUSTOMER_FEATURES).collect(), theirs, CUSTOMER_FEATURES)
