from collections.abc import Callable
from datetime import date
from math import sqrt
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import functions as F

from clm_spark.demo.parameters import Shop, ShopParameters
from clm_spark.demo.records import FLAWS
from clm_spark.demo.shop import shop_records, write_shop
from clm_spark.errors import SettingsError
from clm_spark.events.ingest.parse import typed_events
from clm_spark.keys import KeyChain
from clm_spark.sources.mapped import MappedSource
from clm_spark.sources.mapping import read_mapping
from clm_spark.sources.source import list_files, records_of
from clm_spark.tables.catalog import EVENT_KINDS

NUM_CUSTOMERS, NUM_DAYS, START, SEED = 4_000, 50, date(2024, 1, 1), 11
LAWS = ShopParameters(visits_per_day=0.3, looks_per_visit=3, responders_share=0.4, late_share=0.02)
AFTER_VISITS = ("refund", "review", "campaign_sent")


@pytest.fixture(scope="module")
def written(spark, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("demo") / "shop")
    return write_shop(
        spark, customers=NUM_CUSTOMERS, days=NUM_DAYS, start_on=START, seed=SEED, out=out, parameters=LAWS, num_files=3
    )


@pytest.fixture(scope="module")
def raw(written) -> pd.DataFrame:
    """Every record as the text it is."""
    files = sorted(Path(written.path, "log").glob("part-*.csv"))
    return pd.concat([pd.read_csv(file, dtype=str, keep_default_na=False) for file in files], ignore_index=True)


@pytest.fixture(scope="module")
def flaws(raw) -> pd.Series:
    """What is wrong with each record; empty for nothing."""
    flaw = pd.Series("", index=raw.index)
    flaw[raw.duplicated()] = "duplicate"
    needs_item = raw.kind.isin(["view", "cart", "uncart", "purchase", "refund", "review"])
    flaw[raw.customer_id == ""] = "missing_customer"
    flaw[raw.kind == "?"] = "unknown_kind"
    flaw[raw.occurred_at < "1995"] = "impossible_time"
    flaw[needs_item & (raw.item_id == "")] = "missing_item"
    flaw[raw.price == "Infinity"] = "bad_number"
    flaw[raw.quantity == "-1"] = "negative_quantity"
    return flaw


@pytest.fixture(scope="module")
def events(raw, flaws) -> pd.DataFrame:
    good = raw[flaws == ""].copy()
    for time in ("occurred_at", "known_at"):
        good[time] = pd.to_datetime(good[time], utc=True, format="ISO8601")
    for number in ("quantity", "price", "amount", "discount", "hit"):
        good[number] = pd.to_numeric(good[number])
    return good


@pytest.fixture(scope="module")
def truth(written) -> Callable[[str], pd.DataFrame]:
    return lambda table: pd.read_parquet(f"{written.path}/truth/{table}")


@pytest.fixture(scope="module")
def customers(truth) -> pd.DataFrame:
    return truth("customers").set_index("customer_id")


@pytest.fixture(scope="module")
def visits(events) -> pd.DataFrame:
    in_visits = events[events.source_session_id != ""]
    return in_visits.groupby("source_session_id").agg(
        customer_id=("customer_id", "first"),
        from_at=("occurred_at", "min"),
        to_at=("occurred_at", "max"),
        buys=("kind", lambda kinds: (kinds == "purchase").any()),
    )


def assert_near(observed: float, expected: float) -> None:
    """Within three standard errors of a count that is Poisson or less dispersed."""
    assert abs(observed - expected) < 3 * sqrt(expected), f"{observed} is far from {expected}"


def test_rows_depend_on_the_seed_alone(spark, written):
    shop = Shop(customers=NUM_CUSTOMERS, days=NUM_DAYS, start_on=START, seed=SEED, parameters=LAWS)
    cases = {"one part": (shop, 1), "two parts": (shop, 2), "other seed": (shop.model_copy(update={"seed": 12}), 2)}
    sums = {}
    for case, (drawn, num_parts) in cases.items():
        records = shop_records(spark, drawn, num_parts=num_parts)
        sums[case] = records.agg(F.count("*"), F.sum(F.xxhash64(*records.columns) % 2**40)).head()
    assert shop.num_blocks == 2
    assert sums["one part"] == sums["two parts"] != sums["other seed"]
    assert sums["one part"][0] == written.num_records


def test_every_record_is_accounted_for(written, raw, flaws, events, truth):
    found = {**events.kind.value_counts(), **flaws[flaws != ""].value_counts()}
    assert {record: number for record, number in written.records.items() if number} == found
    assert truth("records").set_index("record").num_records.to_dict() == written.records
    assert (len(raw), len(events), written.num_files) == (written.num_records, written.num_events, 2)
    assert set(EVENT_KINDS) - set(found) == {"click"}
    assert_near(found["duplicate"], LAWS.duplicate_share * len(events))
    assert_near((events.known_at > events.occurred_at).sum(), LAWS.late_share * len(events))
    assert Shop.model_validate_json(Path(written.path, "parameters.json").read_text()).parameters == LAWS


def test_an_event_fits_what_came_before_it(events, truth):
    assert events.occurred_at.between("2024-01-01", "2024-02-20", inclusive="left").all()
    lines = events[events.kind == "purchase"].merge(truth("items"), on="item_id", suffixes=("", "_true"))
    assert (lines.price * 100).round().eq(lines.price_cents).all()
    assert lines.brand.eq(lines.brand_true).all()
    assert (lines.price * lines.quantity - lines.discount - lines.amount).abs().max() < 0.005

    in_visit, line = ["source_session_id", "item_id"], ["order_id", "item_id", "hit"]
    for earlier, later in (("view", "cart"), ("cart", "purchase"), ("cart", "uncart")):
        first = events[events.kind == earlier].groupby(in_visit).hit.min().rename("first_hit")
        then = events[events.kind == later].join(first, on=in_visit)
        assert (then.first_hit < then.hit).all(), f"{later} without {earlier}"
    for kind in ("refund", "review"):
        late = events[events.kind == kind].merge(lines, on=line, how="left", suffixes=("", "_bought"))
        assert (late.occurred_at > late.occurred_at_bought).all()
        assert late.amount.dropna().eq(late.amount_bought[late.amount.notna()]).all()


def test_customers_come_at_their_true_rates_and_leave_when_they_do(events, visits, customers):
    counted = visits.groupby("customer_id").size().reindex(customers.index, fill_value=0)
    assert counted.eq(customers.num_visits).all()
    is_new = customers.joined_at >= pd.Timestamp(START, tz="UTC")
    expected = customers.visits_per_day * customers.active_seasonal_days
    assert_near((customers.num_visits - is_new).sum(), expected.sum())
    frequent = customers.visits_per_day > customers.visits_per_day.median()
    assert_near((customers.num_visits - is_new)[frequent].sum(), expected[frequent].sum())

    left_at = customers.dropped_out_at.reindex(visits.customer_id).set_axis(visits.index)
    assert left_at.notna().any()
    assert not (visits.to_at > left_at).any()
    repeats = customers.num_orders - (is_new & (customers.num_orders > 0))
    assert_near(customers.dropped_out_at.notna().sum(), (customers.dropout_chance * repeats).sum())
    assert set(events[events.source_session_id == ""].kind) == set(AFTER_VISITS)


def test_responders_buy_more_when_treated(events, visits, customers, truth):
    campaigns = truth("campaigns")
    sent = events[events.kind == "campaign_sent"]
    drawn = visits.join(customers[["joined_at", "response"]], on="customer_id")
    z = {}
    for campaign in campaigns.itertuples():
        eligible = drawn[(drawn.joined_at < campaign.from_at) & drawn.from_at.between(campaign.from_at, campaign.to_at)]
        is_treated = eligible.customer_id.isin(sent[sent.campaign_id == campaign.campaign_id].customer_id)
        uplift = {"responder": campaign.responder_uplift, "annoyed": campaign.annoyed_uplift, "indifferent": 0}
        for (response, treated), cell in eligible.groupby(["response", is_treated]):
            expected = LAWS.buy_share * (1 + treated * uplift[response]) * len(cell)
            z[campaign.campaign_id, response, treated] = (cell.buys.sum() - expected) / sqrt(expected)
    assert len(z) == 2 * 6
    assert max(map(abs, z.values())) < 3, z
    eligible_customers = sum((customers.joined_at < campaign.from_at).sum() for campaign in campaigns.itertuples())
    assert_near(len(sent), LAWS.treated_share * eligible_customers)


def test_customers_look_at_what_they_like(events, customers):
    views = events[events.kind == "view"].groupby(["customer_id", "category"]).size().unstack(fill_value=0)
    has_clear_taste = customers.taste.map(max).reindex(views.index) > 0.5
    views = views[(views.sum(axis=1) >= 10) & has_clear_taste]
    favourite = customers.favourite_category.reindex(views.index)
    most_viewed = views.idxmax(axis=1)
    assert len(views) > 500
    assert (most_viewed == favourite).mean() > 0.9
    assert (favourite == most_viewed.mode()[0]).mean() < 0.2, "no single category would do"


KEY = KeyChain((b"a key for tests only",))


def ingested(spark, made, log_format: str) -> dict[str, int]:
    """Records as the shipped mapping and the parser understand them: events by kind, the others by their flaw."""
    mapping = read_mapping(str(Path(__file__).parents[2] / "conf" / "sources" / "demo_shop.yml"))
    source = MappedSource(mapping.model_copy(update={"format": log_format}), name="demo_shop")
    files = list_files(spark, f"{made.path}/log", endings=source.file_endings)
    fields = source.fields(records_of(source.read(spark, [file.url for file in files])))
    typed = typed_events(fields, source=source.name, time_format=source.time_format, known_at="occurred", key=KEY)
    per_event = typed.groupBy("event_id", "kind", "reason").count()
    repeats = F.sum(F.when(F.col("reason").isNull(), F.col("count") - 1))
    by_sort = per_event.groupBy(F.coalesce("reason", "kind")).agg(F.count("*"), F.sum("count"), repeats).collect()
    events = {name: distinct if repeats is not None else all_ for name, distinct, all_, repeats in by_sort}
    return {**events, "duplicate": sum(repeats or 0 for *_, repeats in by_sort)}


def test_a_log_of_any_format_is_ingested_whole(spark, tmp_path):
    spoilt = ShopParameters(duplicate_share=0.1, broken_share=0.1)
    records = []
    for log_format in ("csv", "jsonl", "parquet"):
        made = write_shop(
            spark, customers=60, days=20, start_on=START, seed=1, out=str(tmp_path / log_format),
            log_format=log_format, parameters=spoilt, num_files=1,
        )  # fmt: skip
        assert ingested(spark, made, log_format) == {name: number for name, number in made.records.items() if number}
        records.append(made.records)
    assert records[0] == records[1] == records[2]
    assert all(records[0][flaw] for flaw in FLAWS)
    with pytest.raises(SettingsError, match="is not empty: expected a new folder"):
        write_shop(spark, customers=1, days=1, start_on=START, seed=1, out=made.path)
    with pytest.raises(SettingsError, match="unknown format 'xml': expected one of csv, jsonl, parquet"):
        write_shop(spark, customers=1, days=1, start_on=START, seed=1, out=str(tmp_path / "x"), log_format="xml")
