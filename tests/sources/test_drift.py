"""Schema drift of a log: new columns become attributes, missing ones are refused, retyped ones read the same."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from ingesting import Ingested, ingest

from clm_spark.errors import SourceError
from clm_spark.settings import IngestSettings
from clm_spark.sources import open_source

FIELDS = {"customer_id": "who", "occurred_at": "when", "item_id": "sku", "price": "price"}
WHEN = "2024-02-29T12:00:00Z"


def source_of(tmp_path, **keys):
    file = tmp_path / "shop.yml"
    mapping = {"kind": "view", "fields": FIELDS, "attributes": {"device": "device"}, "optional": ["device"]}
    file.write_text(yaml.safe_dump(mapping | keys))
    return open_source(IngestSettings(source="mapping", path="unused", mapping=str(file)))


def contents(ingested: Ingested) -> dict[str, tuple[object, ...]]:
    """By item: price, attributes and new columns of the event."""
    rows = ingested.typed.collect()
    assert all(row.reason is None for row in rows), [row.reason for row in rows]
    return {row.item_id: (row.price_cents, row.attributes, row.new_columns) for row in rows}


def test_each_csv_file_is_read_by_its_own_header(spark, tmp_path):
    source = source_of(tmp_path, format="csv", header="who,when,sku,price,device")
    files = {
        "a": ["who,when,sku,price,device", f"u,{WHEN},usual,1,phone"],
        "b": ["sku,price,when,who,device", f"reordered,2,{WHEN},u,phone"],
        "c": ["who,when,sku,price,colour,device,size", f'u,{WHEN},wider,3,"red, dark",phone,', f"u,{WHEN},bare,3,,,"],
        "d": ["who,when,sku,price", f"u,{WHEN},narrower,4", "who,when,sku,price,device"],
        "e": ["who,when,sku,price,colour,device_", f"u,{WHEN},other,5,blue,clash"],
    }
    (tmp_path / "log").mkdir()
    for name, lines in files.items():
        (tmp_path / "log" / f"{name}.csv").write_text("\n".join(lines))
    ingested = ingest(spark, source, tmp_path / "log")
    assert contents(ingested) == {
        "usual": (100, {"device": "phone"}, None),
        "reordered": (200, {"device": "phone"}, None),
        "wider": (300, {"device": "phone", "colour": "red, dark"}, ["colour", "size"]),
        "bare": (300, {}, ["colour", "size"]),
        "narrower": (400, {}, None),
        "other": (500, {"colour": "blue", "device_": "clash"}, ["colour", "device_"]),
    }
    # A line that does not fit its own header is no event of another.
    (tmp_path / "log" / "c.csv").write_text("\n".join([files["c"][0], f"u,{WHEN},usual,1,phone"]))
    assert ingest(spark, source, tmp_path / "log" / "c.csv").reasons == {"unparsable": 1}

    for header, expected in {
        "who,when,price,device": "came 'who,when,price,device', sku missing",
        "who,when,sku,cost": "price missing",
        "a,b,c": "another format",
    }.items():
        (tmp_path / "log" / "f.csv").write_text(f"{header}\n1,2,3\n")
        with pytest.raises(SourceError, match=r"f\.csv") as error:
            ingest(spark, source, tmp_path / "log")
        assert expected in str(error.value)


def test_new_members_of_json_objects_are_kept_in_order_of_name(spark, tmp_path):
    source = source_of(tmp_path, format="jsonl", ignored=["debug"], attributes={"gadget": "device"})
    base = {"who": "u", "when": WHEN, "price": 1, "debug": {"x": 1}}
    objects = [
        base | {"sku": "usual", "device": "phone"},
        base | {"sku": "wider", "zone": 7, "device": "phone", "app": {"v": [1, 2]}, "none": None},
        base | {"sku": "clash", "device": "phone", "gadget": 1},
        base | {"sku": "twice"},
    ]
    lines = [json.dumps(one) for one in objects]
    lines[-1] = lines[-1].removesuffix("}") + ', "new": 1, "new": 2}'
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    came = contents(ingest(spark, source, tmp_path))
    assert came["twice"][1]["new"] in ("1", "2"), "an object that names a member twice stops nothing"
    assert {item: row for item, row in came.items() if item != "twice"} == {
        "usual": (100, {"gadget": "phone"}, None),
        "wider": (100, {"app": '{"v":[1,2]}', "gadget": "phone", "zone": "7"}, ["zone", "app", "none"]),
        "clash": (100, {"gadget": "phone", "gadget_": "1"}, ["gadget"]),
    }


def test_a_retyped_parquet_column_names_the_same_customer(spark, tmp_path):
    source = source_of(tmp_path, format="parquet")
    (tmp_path / "log").mkdir()
    files = {
        "whole": {"who": pa.array([17]), "price": pa.array([2.5])},
        "float": {"who": pa.array([17.0]), "price": pa.array([2.5], pa.float64()), "colour": pa.array(["red"])},
        "text": {"who": pa.array(["17"]), "price": pa.array(["2.50"])},
        "big": {"who": pa.array([2.0**60]), "price": pa.array([3])},
    }
    for name, columns in files.items():
        table = pa.table({**columns, "when": pa.array([WHEN]), "sku": pa.array([name])})
        pq.write_table(table, tmp_path / "log" / f"{name}.parquet")
    ingested = ingest(spark, source, tmp_path / "log")
    assert {item: row[0] for item, row in contents(ingested).items()} == {
        "whole": 250,
        "float": 250,
        "text": 250,
        "big": 300,
    }
    assert ingested.typed.where("item_id != 'big'").select("customer_id").distinct().count() == 1
    assert contents(ingested)["float"][1:] == ({"colour": "red"}, ["colour"])
