import hmac

import pytest
from conftest import real_data
from ingesting import KEY, ingest

from clm_spark.errors import SourceError
from clm_spark.sources.rees46 import HEADER, Rees46

VIEW = "2019-10-01 00:00:00 UTC,view,44600062,2103807459595387724,,shiseido,35.79,541312140,s-1"
CASES = [  # line, expected reason or kind
    (VIEW, "view"),
    (VIEW.replace("view", "remove_from_cart"), "uncart"),
    (VIEW.replace("view", "purchase"), "purchase"),
    (VIEW.replace("shiseido", '"shi,""seido"""').replace("s-1", "s-2"), "view"),
    (VIEW.removesuffix(",s-1"), "unparsable"),
    (VIEW + ",more", "unparsable"),
    (VIEW.replace("shiseido", '"shiseido'), "unparsable"),
    (VIEW.replace(",", ";"), "unparsable"),
    (VIEW.replace("541312140", ""), "missing_customer"),
    (VIEW.replace("view", "hover"), "unknown_kind"),
    (VIEW.replace(" UTC", ""), "impossible_time"),
    (VIEW.replace("44600062", " "), "missing_item"),
    (VIEW.replace("35.79", "35,79"), "unparsable"),
    (VIEW.replace("35.79", "free"), "bad_number"),
    (VIEW.replace("35.79", "-35.79"), "negative_quantity"),
]


def test_every_line_becomes_an_event_or_a_reason(spark, tmp_path):
    lines = "\r\n".join([HEADER, *(line for line, _ in CASES[:8]), "", "  "])
    (tmp_path / "a.csv").write_bytes(("\ufeff" + lines).encode())
    (tmp_path / "b.csv").write_text(
        "\n".join([HEADER.replace(",", '","').join('""'), *(line for line, _ in CASES[8:])])
    )
    ingested = ingest(spark, Rees46(), tmp_path)
    came = {row.record: row.reason or row.kind for row in ingested.typed.collect()}
    assert came == dict(CASES)
    assert ingested.num_read == len(CASES)

    by_kind = {row.kind: row for row in ingested.kept.where("brand = 'shiseido'").collect()}
    bought, viewed = by_kind["purchase"], by_kind["view"]
    assert (bought.quantity, bought.price_cents, bought.amount_cents, bought.order_id) == (1, 3579, 3579, "s-1")
    assert (viewed.quantity, viewed.amount_cents, viewed.order_id, viewed.category) == (None, None, None, None)
    assert viewed.customer_id == hmac.new(KEY.links[0], b"541312140", "sha256").hexdigest()
    assert viewed.attributes == {"category_id": "2103807459595387724"}
    assert [row.brand for row in ingested.typed.where("reason IS NULL AND brand LIKE '%,%'").collect()] == [
        'shi,"seido"'
    ]


def test_a_stray_file_is_named_wherever_it_stands(spark, tmp_path):
    (tmp_path / "a.csv").write_text(f"{HEADER}\n{VIEW}\n")
    strays = {
        "b.csv": b"timestamp,visitorid,event\n1,2,view\n",
        "c.csv": HEADER.replace(",", ";").encode(),
        "d.csv": b"PAR1\x00\x15\x04" * 50_000,
        "e.csv.gz": HEADER.encode(),
    }
    for name, content in strays.items():
        stray = tmp_path / name
        stray.write_bytes(content)
        with pytest.raises(
            SourceError, match="cannot be unpacked" if name.endswith("gz") else "another format"
        ) as error:
            ingest(spark, Rees46(), tmp_path)
        assert name in str(error.value)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 1500
        stray.unlink()


def test_the_real_sample(spark):
    ingested = ingest(spark, Rees46(), real_data("rees46_sample"))
    assert ingested.num_read == 17_435
    assert ingested.reasons == {"unparsable": 1}, "its last row is cut off"
    assert ingested.kinds == {"view": 17_056 - 1, "cart": 165, "purchase": 214}
    assert (ingested.num_kept, ingested.num_duplicates) == (17_429, 5)
    assert ingested.is_whole
    assert ingested.kept.select("customer_id").distinct().count() == 4_505 - 1
