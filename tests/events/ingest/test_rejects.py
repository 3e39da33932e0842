"""What is said of records that cannot be used, and when they stop a run."""

import logging

import pytest
import yaml
from conftest import lake_settings
from ingesting import ingest

from clm_spark.errors import SourceError
from clm_spark.events.ingest.checks import check_share_rejected
from clm_spark.events.ingest.claims import Batch
from clm_spark.events.ingest.rejects import example_of_each
from clm_spark.events.ingest.validation import summarized, validation_results
from clm_spark.settings import IngestSettings
from clm_spark.sources import open_source

HEADER = "when,who,what,sku,qty"
WHEN = "2024-02-01 10:00:00"
KEYS = {
    "format": "csv",
    "header": HEADER,
    "fields": {"occurred_at": "when", "customer_id": "who", "kind": "what", "item_id": "sku", "quantity": "qty"},
}


@pytest.fixture
def rejected(spark, tmp_path):
    """Records by the mapping: typed, their summary, and the source."""

    def read(lines, **changes):
        (tmp_path / "shop.yml").write_text(yaml.safe_dump(KEYS | changes))
        (tmp_path / "log.csv").write_text("\n".join([HEADER, *lines]))
        source = open_source(IngestSettings(source="mapping", mapping=str(tmp_path / "shop.yml")))
        typed = ingest(spark, source, tmp_path / "log.csv").typed
        return typed, summarized(validation_results(typed)), source

    return read


def check(tmp_path, typed, summary, source, **ingest_settings):
    settings = lake_settings(tmp_path, ingest=ingest_settings)
    check_share_rejected(summary, typed, source, Batch("b1", ("log.csv",)), settings)


def test_every_reason_is_shown_by_a_record_with_its_place_and_what_would_mend_it(rejected):
    typed, _, source = rejected(
        [
            f"{WHEN},u1,purchase,a,-2",
            f"{WHEN},,purchase,a,1",
            f"{WHEN},u1,Kauf,a,1",
            "01/02/2024,u1,purchase,a,1",
            f'{WHEN},u1,purchase,a,"1,5"',
            f"{WHEN},u1,purchase",
        ]
    )
    told = example_of_each(typed, source)
    for expected in (
        "negative_quantity: log.csv line 2 is '2024-02-01 10:00:00,u1,purchase,a,-2', read as quantity '-2': if such a line is "
        "a return, write `fields.kind: \"case when qty < 0 then 'refund' else what end\"`",
        "missing_customer: log.csv line 3",
        "unknown_kind: log.csv line 4 is '2024-02-01 10:00:00,u1,Kauf,a,1', read as kind 'kauf': write what it means, as in "
        "`kinds: {kauf: view}`",
        "impossible_time: log.csv line 5 is '01/02/2024,u1,purchase,a,1', read as occurred_at '01/02/2024': `time_format` is iso",
        "bad_number: log.csv line 6",
        "unparsable: log.csv line 7",
    ):
        assert expected in told
    assert "\n" not in told


def test_a_return_that_the_mapping_cannot_tell_stops_a_batch_however_large(rejected, tmp_path, caplog):
    good, back = f"{WHEN},u1,purchase,a,1", f"{WHEN},u1,purchase,a,-1"
    fields = {name: column for name, column in KEYS["fields"].items() if name != "kind"}
    one_kind = rejected([*[good] * 40, back], fields=fields, kind="purchase")
    with pytest.raises(SourceError, match=r"does not say what 1 of 41 records .* \(negative_quantity 1\)") as error:
        check(tmp_path, *one_kind, max_rejected_share=0.5)
    assert "`kind: \"case when qty < 0 then 'refund' else 'purchase' end\"`" in error.value.example
    # A log that has a word for a refund tells returns from the rest: this record is broken, as any other.
    check(tmp_path, *rejected([*[good] * 40, back]))
    assert "1 of 41 records cannot be used (negative_quantity 1)" in caplog.text


def test_share_and_number_both_matter(rejected, tmp_path, caplog):
    good, bad = f"{WHEN},u1,purchase,a,1", f"{WHEN},,purchase,a,1"
    few = rejected([*[good] * 4, bad])
    with caplog.at_level(logging.WARNING):
        check(tmp_path, *few)
    assert "1 of 5 records cannot be used (missing_customer 1): missing_customer: log.csv line 6: " in caplog.text
    assert WHEN not in caplog.text, "a log is stored: it has no record"
    a_third = rejected([*[good] * 2, bad])
    with pytest.raises(SourceError, match=r"1 of 3 records .* \(missing_customer 1\): expected at most 10%") as error:
        check(tmp_path, *a_third)
    assert "line 4" in error.value.example
    assert "line 4" not in str(error.value), "what is stored names no record"
    check(tmp_path, *a_third, max_rejected_share=0.4)
    with pytest.raises(SourceError):
        check(tmp_path, *few, tolerated_rejects=0)
    filtered = rejected([good, f"{WHEN},u1,purchase,b,1", f"{WHEN},u1,purchase,c,1"], filter="sku = 'a'")
    assert filtered[1].reasons == {"filtered": 2}
    check(tmp_path, *filtered, tolerated_rejects=0)
