from clm_spark.events.ingest.validation import Span, summarized


def test_records_are_counted_by_file_and_reason_and_rejected_times_do_not_count(spark):
    results = spark.createDataFrame(
        [  # file, reason, microseconds since 1970
            ("monday", None, 20),
            ("monday", None, 30),
            ("monday", "impossible_time", 1),
            ("monday", "missing_item", 99),
            ("tuesday", None, 10),
            ("tuesday", "impossible_time", None),
            ("wednesday", "unparsable", None),
        ],
        "file string, reason string, us bigint",
    ).selectExpr(
        "file",
        "reason",
        "timestamp_micros(us) AS occurred_at",
        "IF(us = 30, array('colour'), NULL) AS new_columns",
        "coalesce(us IN (20, 99), false) AS is_guest",
    )
    summary = summarized(results)
    assert dict(summary.usable) == {"monday": 2, "tuesday": 1}
    assert dict(summary.rejected) == {"monday": 2, "tuesday": 1, "wednesday": 1}
    assert dict(summary.reasons) == {"impossible_time": 2, "missing_item": 1, "unparsable": 1}
    assert (summary.num_validated, summary.num_rejected) == (7, 4)
    assert summary.span == Span(num_usable=3, first_us=10, last_us=30)
    assert (summary.num_with_new_columns, summary.num_guests) == (1, 1)
    none = summarized(results.where("file = 'wednesday'"))
    assert none.span == Span(num_usable=0, first_us=None, last_us=None)
