import pytest
from conftest import real_data
from ingesting import ingest

from clm_spark.errors import SourceError
from clm_spark.sources.yoochoose import Yoochoose

CLICKS = [  # line, kind or reason, category, brand
    ("1,2014-04-07T10:51:09.277Z,214536502,0", "view", None, None),
    ("1,2014-04-07T10:54:09.868Z,214536500,S", "view", "S", None),
    ("1,2014-04-07T10:54:46.998Z,214536506,12", "view", "12", None),
    ("1,2014-04-07T10:57:00.306Z,214577561,2089102315", "view", None, "2089102315"),
    ("1,now,214577561,0", "impossible_time", None, None),
    ("1,2014-04-07T10:57:00.306Z,214577561", "unparsable", None, None),
]
BUYS = [  # line, price, quantity, amount
    ("420374,2014-04-06T18:44:58.314Z,214537888,12462,2", 1_246_200, 2, 2_492_400),
    ("420374,2014-04-06T18:44:58.325Z,214537850,0,0", None, 1, None),
]


def test_clicks_and_buys_lie_side_by_side(spark, tmp_path):
    (tmp_path / "yoochoose-clicks.dat").write_text("\n".join(line for line, *_ in CLICKS))
    (tmp_path / "yoochoose-buys.dat").write_text("\n".join(line for line, *_ in BUYS))
    (tmp_path / "dataset-README.txt").write_text("SUMMARY")
    ingested = ingest(spark, Yoochoose(), tmp_path)
    rows = {row.record: row for row in ingested.typed.collect()}
    came = [(line, rows[line].reason or rows[line].kind) for line, *_ in CLICKS]
    assert came == [(line, expected) for line, expected, *_ in CLICKS]
    seen = [(rows[line].category, rows[line].brand) for line, *_ in CLICKS[:4]]
    assert seen == [(category, brand) for _, _, category, brand in CLICKS[:4]]
    for line, *expected in BUYS:
        bought = rows[line]
        assert [bought.price_cents, bought.quantity, bought.amount_cents] == expected
        assert (bought.kind, bought.order_id, bought.item_id) == ("purchase", "420374", line.split(",")[2])
    assert rows[BUYS[0][0]].happened == "2014-04-06 18:44:58.314"


def test_another_format_is_refused(spark, tmp_path):
    (tmp_path / "clicks.dat").write_text("1;2014-04-07T10:51:09.277Z;214536502;0\n")
    with pytest.raises(SourceError, match=r"expected the header 'SessionId.*or lines such as '1,2014.*came '1;2014"):
        ingest(spark, Yoochoose(), tmp_path)


def test_the_real_samples(spark):
    ingested = ingest(spark, Yoochoose(), real_data("yoochoose_sample"))
    assert ingested.num_read == 70_278 + 13_568
    assert (ingested.kinds, ingested.reasons) == ({"view": 70_278 + 13_568}, {})
    assert (ingested.num_duplicates, ingested.is_whole) == (1, True)
    first = ingested.typed.where("source_session_id = '1' AND item_id = '214536502'").head()
    assert first.happened == "2014-04-07 08:51:09.277"
