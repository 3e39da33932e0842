"""Drift of features, against NumPy and against the definition."""

from datetime import timedelta

import numpy as np
import pytest
from shop_events import on

from clm_spark.errors import SettingsError
from clm_spark.features.drift import NUM_BINS, feature_drift, sampled
from clm_spark.jobs import check_drift
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake


def index(now: np.ndarray, before: np.ndarray) -> float:
    """The population stability index over the tenths of `before`; NaN is null."""
    values = before[~np.isnan(before)]
    edges = np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf")
    counts = []
    for sample in (now, before):
        bins = np.where(np.isnan(sample), NUM_BINS - 1, np.searchsorted(edges, sample, side="left"))
        n = np.bincount(bins, minlength=NUM_BINS)
        counts.append(np.where(n, (n + 0.5) / (len(sample) + 0.5 * NUM_BINS), np.nan))
    p, q = counts
    p, q = (
        np.where(np.isnan(p), 0.5 / (len(now) + 0.5 * NUM_BINS), p),
        np.where(np.isnan(q), 0.5 / (len(before) + 0.5 * NUM_BINS), q),
    )
    used = ~(np.isnan(counts[0]) & np.isnan(counts[1]))
    return float(((p - q) * np.log(p / q))[used].sum())


def test_features_that_stay_and_features_that_move(spark):
    drawn = np.random.default_rng(5)
    before = {
        "same": drawn.normal(size=600),
        "shifted": drawn.normal(size=600),
        "mostly_zero": np.where(drawn.random(600) < 0.7, 0.0, drawn.integers(1, 9, 600)),
        "vanished": np.where(drawn.random(600) < 0.1, np.nan, drawn.normal(size=600)),
        "new": np.full(600, np.nan),
    }
    now = {
        "same": drawn.normal(size=500),
        "shifted": drawn.normal(loc=0.8, size=500),
        "mostly_zero": np.where(drawn.random(500) < 0.7, 0.0, drawn.integers(1, 9, 500)),
        "vanished": np.where(drawn.random(500) < 0.6, np.nan, drawn.normal(size=500)),
        "new": drawn.normal(size=500),
    }
    frames = []
    for columns in (now, before):
        rows = [
            tuple(None if np.isnan(value) else float(value) for value in row)
            for row in zip(*columns.values(), strict=True)
        ]
        frames.append(spark.createDataFrame(rows, ", ".join(f"{name} double" for name in columns)))
    got = {row.feature: row for row in feature_drift(*frames, list(before)).collect()}
    assert set(got) == set(before)
    for name in ("same", "shifted", "mostly_zero", "vanished"):
        assert got[name].psi == pytest.approx(index(now[name], before[name])), name
        assert got[name].mean == pytest.approx(np.nanmean(now[name]))
        assert got[name].null_share_before == pytest.approx(np.isnan(before[name]).mean())
    assert max(got["same"].psi, got["mostly_zero"].psi) < 0.1
    assert min(got["shifted"].psi, got["vanished"].psi, got["new"].psi) > 0.25
    assert (got["new"].mean_before, got["new"].null_share_before, got["new"].null_share) == (None, 1.0, 0.0)
    assert (got["same"].num_rows, got["same"].num_rows_before) == (500, 600)


def test_a_sample_takes_the_same_customers_on_every_day(spark):
    days = [
        spark.range(num_rows).selectExpr("CAST(id AS STRING) AS customer_id", f"DATE '{day}' AS as_of")
        for day, num_rows in (("2024-01-01", 2000), ("2024-01-29", 3000))
    ]
    first, second = (
        {row.customer_id for row in sampled(day, t.CUSTOMER_FEATURES, share=0.25).collect()} for day in days
    )
    assert {who for who in second if int(who) < 2000} == first < second
    assert 400 < len(first) < 600
    assert sampled(days[0], t.CUSTOMER_FEATURES, share=1.0).count() == 2000


def test_the_job_compares_every_declared_feature(small_shop):
    lake = small_shop.lake
    check_drift.run(lake, lake.settings)
    rows = lake.read_as_of(t.FEATURE_DRIFT).collect()
    # The shop has its customers' features of a single day: nothing to compare them with.
    assert {row.table_name for row in rows} == {t.ITEM_FEATURES.title}
    assert {row.feature for row in rows} == set(t.ITEM_FEATURES.schema.names) - {"item_id", "as_of", "category"}
    assert {row.compared_with for row in rows} == {lake.settings.as_of - timedelta(days=28)}
    age = next(row for row in rows if row.feature == "age_days")
    assert age.psi > lake.settings.drift.max_psi, "every item is 28 days older"
    assert not any(row.has_drifted for row in rows), "of twelve items nothing can be told"
    few = lake.settings.drift.model_copy(update={"min_rows": 1})
    check_drift.run(lake, lake.settings.model_copy(update={"drift": few}))
    assert lake.read_as_of(t.FEATURE_DRIFT).where("feature = 'age_days'").head().has_drifted
    assert round(age.mean - age.mean_before, 9) == 28


def test_a_day_without_features_is_named(small_shop):
    early = small_shop.lake.settings.model_copy(update={"as_of": on("2024-01-15")})
    with pytest.raises(SettingsError, match=r"gold\.customer_features has no row as of 2024-01-15: run the job that"):
        check_drift.run(Lake(small_shop.lake.spark, early), early)
