from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from ingesting import ingest
from pyspark.sql import functions as F

from clm_spark.errors import SettingsError, SourceError
from clm_spark.settings import IngestSettings
from clm_spark.sources import SOURCES, open_source

EXAMPLE = Path(__file__).parents[2] / "conf" / "sources" / "example.yml"
CSV = [
    ("29.02.2024 12:00:00;u1;look;i1;shoes;;49.90;phone", "view"),
    ('29.02.2024 12:05:00;u1;buy;i1;"shoes; new";2;49.90;phone', "purchase"),
    ("01.03.2024 09:00:00;u1;return;i1;shoes;1;49.90;", "refund"),
    ("2024-03-01 09:00:00;u1;look;i1;shoes;;;", "impossible_time"),
    ("01.03.2024 09:00:00;u1;stare;i1;shoes;;;", "unknown_kind"),
    ("01.03.2024 09:00:00;u1;look;i1;shoes", "unparsable"),
]


def source_of(tmp_path: Path, **keys: object):
    file = tmp_path / "shop.yml"
    file.write_text(yaml.safe_dump(keys))
    return open_source(IngestSettings(source="mapping", path="unused", mapping=str(file)))


def test_the_example_reads_a_csv_log(spark, tmp_path):
    source = open_source(IngestSettings(source="mapping", mapping=str(EXAMPLE)))
    header = yaml.safe_load(EXAMPLE.read_text())["header"]
    (tmp_path / "log.csv").write_text("\n".join([header, *(line for line, _ in CSV)]))
    ingested = ingest(spark, source, tmp_path)
    rows = {row.record: row for row in ingested.typed.collect()}
    assert [(line, rows[line].reason or rows[line].kind) for line, _ in CSV] == CSV
    viewed, bought, returned = (rows[line] for line, _ in CSV[:3])
    assert (viewed.happened, viewed.quantity, viewed.amount_cents) == ("2024-02-29 12:00:00", None, None)
    assert (bought.category, bought.quantity, bought.amount_cents) == ("shoes; new", 2, 9_980)
    assert (returned.amount_cents, returned.source) == (4_990, "mapping:example")
    assert (viewed.attributes, returned.attributes) == ({"device": "phone"}, {})


def test_json_lines_and_parquet_reach_into_objects(spark, tmp_path):
    keys = {
        "time_format": "epoch_s",
        "fields": {
            "customer_id": "user.id",
            "visitor_id": "device",
            "occurred_at": "ts",
            "kind": "what",
            "item_id": "item",
        },
        "kinds": {0: "view"},
        "attributes": {"city": "user.place.city"},
    }
    cases = [
        ('{"user": {"id": 7, "place": {"city": "Wien"}}, "ts": 1709208000.5, "what": 0, "item": "a"}', "view"),
        ('{"user": {"id": 7}, "ts": 1709208000, "what": 0, "item": "a"}{"user": 8}', "unparsable"),
        ('{"user": {"id": 7}, "ts": 1709208000, "what": 0', "unparsable"),
        ("null", "unparsable"),
        ('{"user": {}, "ts": 1709208000, "what": 0, "item": "a"}', "missing_customer"),
        ('{"device": "d1", "ts": 1709208000, "what": 0, "item": "a"}', "view"),
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(line for line, _ in cases))
    ingested = ingest(spark, source_of(tmp_path, format="jsonl", **keys), tmp_path)
    rows = {row.record: row for row in ingested.typed.collect()}
    assert [(line, rows[line].reason or rows[line].kind) for line, _ in cases] == cases
    first = rows[cases[0][0]]
    assert (first.happened, first.attributes) == ("2024-02-29 12:00:00.5", {"city": "Wien"})

    user = {"id": 7, "place": {"city": "Wien"}}
    columns = {"user": [user], "device": ["d7"], "ts": [1709208000], "what": [0], "item": ["a"], "unused": [1]}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    ingested = ingest(
        spark, source_of(tmp_path, format="parquet", ignored=["unused"], **keys), tmp_path / "log.parquet"
    )
    row = ingested.kept.head()
    assert (ingested.num_read, row.customer_id, row.attributes) == (1, first.customer_id, {"city": "Wien"})


def test_a_mapping_has_a_time_zone(spark, tmp_path):
    fields = {"customer_id": "u", "occurred_at": "t", "sent_at": "s", "known_at": "k"}
    keys = {"format": "csv", "columns": ["u", "t", "s", "k"], "fields": fields, "kind": "search"}
    local = source_of(tmp_path, **keys, time_zone="Europe/Vienna")
    assert (local.time_zone, source_of(tmp_path, **keys).time_zone) == ("Europe/Vienna", "UTC")
    of_shop = IngestSettings(source="mapping", mapping=str(tmp_path / "shop.yml"), time_zone="Asia/Tokyo")
    assert open_source(of_shop).time_zone == "Asia/Tokyo"
    (tmp_path / "log.csv").write_text("u1,2024-07-01 12:00:00,2024-07-01 12:00:00Z,2024-07-01 12:00:00\n")
    row = ingest(spark, local, tmp_path / "log.csv").kept.select(F.col("occurred_at").cast("string")).head()
    assert row.occurred_at == "2024-07-01 10:00:00"


def test_a_log_without_header_shows_a_wrong_separator(spark, tmp_path):
    keys = {"format": "csv", "columns": ["who", "when"], "fields": {"customer_id": "who", "occurred_at": "when"}}
    source = source_of(tmp_path, kind="search", separator="\t", **keys)
    (tmp_path / "log.tsv").write_text("u1\t2024-02-29T12:00:00Z\nu2\t2024-02-29T12:00:00Z\n")
    assert ingest(spark, source, tmp_path / "log.tsv").kinds == {"search": 2}
    with pytest.raises(SourceError, match=r"expected lines such as 'who;when', came 'u1\\t2024"):
        ingest(spark, source_of(tmp_path, kind="search", separator=";", **keys), tmp_path / "log.tsv")


GOOD = {
    "format": "jsonl",
    "fields": {"customer_id": "u", "occurred_at": "t"},
    "kind": "view",
}
BAD = [
    ({"seperator": ";"}, "seperator is unknown"),
    ({"format": "xml"}, "format: Input should be 'csv', 'jsonl' or 'parquet', got 'xml'"),
    ({"fields": {"customer_id": "u", "when": "t"}}, "fields.occurred_at is missing; fields.when is unknown"),
    ({"fields": {"occurred_at": "t"}}, "expected fields.customer_id, fields.visitor_id or both"),
    ({"kind": "glance"}, "glance is no kind: a kind is one of view, search"),
    ({"kinds": {"x": "glance"}}, "glance is no kind"),
    ({"kind": ""}, "is no kind"),
    ({"fields": {"customer_id": "u", "occurred_at": "t", "kind": "k"}}, "expected either kind"),
    ({"format": "csv"}, "expected either header"),
    ({"format": "csv", "header": "u,x"}, "t is no column of the log: it has u, x"),
    ({"attributes": {"login": "u"}}, "attributes.login is the customer's own column u: raw ids stay in bronze"),
    ({"fields": {"customer_id": "u.id", "occurred_at": "t", "order_id": "u"}}, "fields.order_id is the customer's own"),
    ({"attributes": {"ip": "ipAddress"}}, "attributes.ip is an address"),
    ({"same_id": "refused"}, "same_id is about records with the same fields.event_id"),
    (
        {"same_id": "last by when"},
        "same_id: expected first, refused or `last by` an attribute of the mapping, got 'last by when'",
    ),
    ({"time_format": "epoch"}, "time_format: expected iso, epoch_s"),
    ({"time_format": "HH:mm"}, "time_format: expected iso, epoch_s"),
    ({"time_format": "yyyy-mm-dd"}, "time_format: expected iso, epoch_s"),  # minutes for months
    ({"time_format": "dd.MM.yyyy hh:mm"}, "h and K are hours of a half day: expected a beside them, or H"),
    ({"time_format": "dd.MM.yyyy HH:mm z"}, "z reads names such as CST, which mean more than one zone"),
    ({"time_zone": "Europe/Wien"}, "time_zone: expected UTC or an IANA name such as Europe/Vienna, got 'Europe/Wien'"),
    ({"time_zone": "Europe/Vienna", "time_format": "yyyy-MM-dd HH:mm[X]"}, "expected a zone in all or in none of them"),
    ({"fields": {"customer_id": "u", "occurred_at": "t", "sent_at": "s"}}, "fields.sent_at needs fields.known_at"),
]


def test_an_unusable_mapping_is_one_clear_line(tmp_path):
    assert source_of(tmp_path, **GOOD).name == "mapping:shop"
    for change, expected in BAD:
        with pytest.raises(SettingsError) as error:
            source_of(tmp_path, **GOOD | change)
        assert expected in str(error.value).replace("Value error, ", "")
        assert "\n" not in str(error.value)
    (tmp_path / "text.yml").write_text("a: [")
    for mapping, expected in [
        (None, "source mapping needs a YAML file"),
        (str(tmp_path / "none.yml"), "no mapping at"),
        (str(tmp_path / "text.yml"), "is not YAML"),
        (str(tmp_path), "no mapping at"),
    ]:
        with pytest.raises(SettingsError, match=expected) as error:
            open_source(IngestSettings(source="mapping", mapping=mapping))
        assert "\n" not in str(error.value)


def test_an_unknown_source_is_answered_with_the_known_ones():
    with pytest.raises(
        SettingsError, match="'rees47' is unknown: expected one of complete_journey, eshop, mapping, rees46"
    ):
        open_source(IngestSettings(source="rees47"))
    named = {name: open_source(IngestSettings(source=name, path="x")).name for name in SOURCES if name != "mapping"}
    assert {name: name for name in named} == named
