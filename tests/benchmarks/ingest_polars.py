"""The work of ingestion by Polars: `python ingest_polars.py LOG FORMAT OUT`. Rules and event ids are those of clm-spark.

Polars has neither SHA-256 nor MD5: both are Python's, the pseudonym once per customer. Nor has it maps: attributes are
a struct. A JSON line that is none would stop it. All of it streams: what does not fit into memory goes through files.
"""

import argparse
import hashlib
import hmac
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from shop_log import ATTRIBUTES, COLUMNS, EVENT, IDENTIFYING_FIELDS, KINDS, MAX_RECORD_BYTES, NEEDS_ITEM, SOURCE, TEXTS

ask = argparse.ArgumentParser(description=__doc__)
for argument in ("log", "style", "out"):
    ask.add_argument(argument)
ask.add_argument("--key-file", default="conf/demo.key")
ask.add_argument("--memory", help="not heeded: Polars has no such setting")
ask.add_argument("--cores", type=int, default=2)
asked = ask.parse_args()
os.environ["POLARS_MAX_THREADS"] = str(asked.cores)  # read when it is imported

import polars as pl  # noqa: E402
from polars import col, lit, when  # noqa: E402

EARLIEST = datetime(1995, 1, 1, tzinfo=UTC).replace(tzinfo=None)  # Polars wants UTC without a zone


def records(log: Path, style: str) -> pl.LazyFrame:
    """File, line and text of every record; a row of Parquet as JSON."""
    if style == "parquet":
        # Of text all through: JSON has no word for a price that is not a number.
        times = [col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ") for name in ("occurred_at", "known_at")]
        texts = [*times, *(col(name).cast(pl.String) for name in COLUMNS if not name.endswith("_at"))]
        rows = [
            pl.scan_parquet(file, row_index_name="position", row_index_offset=1).select(
                lit(str(file)).alias("file"), "position", pl.struct(texts).struct.json_encode().alias("record")
            )
            for file in sorted(log.glob("*.parquet"))
        ]
        return pl.concat(rows)
    ending, header = {"csv": ("csv", ",".join(COLUMNS)), "jsonl": ("json", "")}[style]
    lines = [
        pl.scan_lines(file, name="record", row_index_name="position", row_index_offset=1).select(
            lit(str(file)).alias("file"), "position", "record"
        )
        for file in sorted(log.glob(f"*.{ending}"))
    ]
    return pl.concat(lines).filter(~col("record").str.strip_chars(" ").is_in(["", header]))


def cells(raw: pl.LazyFrame, style: str) -> pl.LazyFrame:
    """The columns of each record as text, null where it says nothing."""
    if style == "csv":
        # A line is cut at its commas unless it holds a quote; those few are cut by a regular expression.
        quoted = (
            (col("record") + ",")
            .str.extract_all(r'(?:"(?:[^"]|"")*"|[^",]*),')
            .list.eval(
                pl.element()
                .str.strip_suffix(",")
                .str.replace_all(r'^"|"$', "")
                .str.replace_all('""', '"', literal=True)
            )
        )
        cut = when(col("record").str.contains('"', literal=True)).then(quoted).otherwise(col("record").str.split(","))
        listed = raw.with_columns(cut.alias("cells"))
        named = {name: col("cells").list.get(n, null_on_oob=True) for n, name in enumerate(COLUMNS)}
        is_parsable = col("cells").list.len() == len(COLUMNS)
    else:
        struct = pl.Struct(dict.fromkeys(COLUMNS, pl.String))
        listed = raw.with_columns(col("record").str.json_decode(struct).alias("cells"))
        named = {name: col("cells").struct.field(name) for name in COLUMNS}
        is_parsable = col("cells").is_not_null()
    trimmed = {name: cell.str.strip_chars(" ") for name, cell in named.items()}
    return listed.select("file", "position", "record", is_parsable.alias("is_parsable"), **trimmed).with_columns(
        when(col(name) != "").then(col(name)).alias(name) for name in COLUMNS
    )


def cents(name: str) -> pl.Expr:
    return (col(name).cast(pl.Decimal(20, 6), strict=False) * 100).round().cast(pl.Int64, strict=False)


def time(name: str) -> pl.Expr:
    return col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", strict=False, time_unit="us")


def typed(read: pl.LazyFrame, key: bytes) -> pl.LazyFrame:
    """Types, the reason to reject a record, the customer's pseudonym and the event's id."""
    numbers = {"quantity_number": col("quantity").cast(pl.Decimal(18, 4), strict=False)} | {
        f"{name}_cents": cents(name) for name in ("price", "amount", "discount")
    }
    typed = read.select(
        *("file", "position", "record", "is_parsable", *TEXTS, *ATTRIBUTES),
        *(col(name).alias(f"{name}_text") for name in ("known_at", "quantity", "price", "amount", "discount")),
        raw_customer_id="customer_id",
        kind=col("kind").str.to_lowercase(),
        occurred_at=time("occurred_at"),
        logged_known_at=time("known_at"),
        source=lit(SOURCE),
        **numbers,
    )
    is_bad = pl.any_horizontal(
        col(f"{text}_text").is_not_null() & col(number).is_null()
        for text, number in zip(("quantity", "price", "amount", "discount"), numbers, strict=True)
    )
    is_negative = pl.any_horizontal(col(number) < 0 for number in numbers).fill_null(False)
    is_unreadable = col("occurred_at").is_null() | (
        col("known_at_text").is_not_null() & col("logged_known_at").is_null()
    )
    reason = (
        when(col("record").str.len_bytes() > MAX_RECORD_BYTES)
        .then(lit("too_large"))
        .when(~col("is_parsable"))
        .then(lit("unparsable"))
        .when(col("raw_customer_id").is_null())
        .then(lit("missing_customer"))
        .when(~col("kind").is_in(KINDS).fill_null(False))
        .then(lit("unknown_kind"))
        .when(is_unreadable | (col("occurred_at") < EARLIEST))
        .then(lit("impossible_time"))
        .when(col("kind").is_in(NEEDS_ITEM) & col("item_id").is_null())
        .then(lit("missing_item"))
        .when(is_bad)
        .then(lit("bad_number"))
        .when(is_negative)
        .then(lit("negative_quantity"))
    )
    is_sold = col("kind").is_in(["purchase", "refund"])
    worth = (
        (col("price_cents") * col("quantity_number").cast(pl.Float64).fill_null(1.0))
        .round()
        .cast(pl.Int64, strict=False)
    )
    units = col("quantity_number").cast(pl.Float64).ceil().cast(pl.Int64)
    validated = typed.with_columns(
        reason.alias("reason"),
        pl.coalesce("logged_known_at", "occurred_at").alias("known_at"),
        pl.coalesce("amount_cents", when(is_sold).then(worth)).alias("amount_cents"),
        when(units.is_null() & is_sold).then(lit(1)).otherwise(units).alias("quantity"),
        col("raw_customer_id")
        .map_batches(pseudonyms(key), return_dtype=pl.String, is_elementwise=True)
        .alias("customer_id"),
    )
    # A line of an order is told by its day.
    is_line, day_us = (col("kind") == "purchase") & col("order_id").is_not_null(), 86_400_000_000
    of_day = when(is_line).then(col("occurred_us") // day_us * day_us).otherwise(col("occurred_us"))
    told = [of_day if name == "occurred_us" else col(name) for name in IDENTIFYING_FIELDS]
    texts = [text.cast(pl.String).fill_null("") for text in told]
    names = [when(col(name).is_not_null()).then(lit(name)) for name in ATTRIBUTES]
    identifying = pl.concat_str([*texts, *names, *ATTRIBUTES], separator="\x1f", ignore_nulls=True)
    with_id = validated.with_columns(occurred_us=col("occurred_at").dt.epoch("us")).with_columns(
        identifying.map_batches(md5s, return_dtype=pl.String, is_elementwise=True).alias("event_id"),
        pl.struct(ATTRIBUTES).alias("attributes"),
    )
    return with_id.select("file", "position", "record", "reason", *EVENT)


def pseudonyms(key: bytes) -> Callable[[pl.Series], pl.Series]:
    """HMAC-SHA256 of each text, computed once for each customer."""
    known: dict[str | None, str | None] = {None: None}

    def named(customers: pl.Series) -> pl.Series:
        for customer in customers.unique():
            if customer not in known:
                known[customer] = hmac.digest(key, customer.encode(), "sha256").hex()
        return pl.Series([known[customer] for customer in customers], dtype=pl.String)

    return named


def md5s(texts: pl.Series) -> pl.Series:
    return pl.Series([hashlib.md5(text.encode()).hexdigest() for text in texts], dtype=pl.String)


def sink(rows: pl.LazyFrame, file: Path) -> None:
    rows.sink_parquet(file, compression="snappy", maintain_order=False, engine="streaming")


def ingest(log: Path, style: str, out: Path, *, key: bytes) -> None:
    """Keep every record as it is, then write what can be used of it once, and set the rest aside."""
    out.mkdir(parents=True)
    raw, work = out / "raw_events.parquet", out / "typed.work"
    sink(records(log, style), raw)
    sink(typed(cells(pl.scan_parquet(raw), style), key), work)
    validated = pl.scan_parquet(work)
    usable = validated.filter(col("reason").is_null())
    counted = usable.group_by("event_id").agg(pl.len()).filter(col("len") > 1).select("event_id")
    again = counted.collect(engine="streaming").lazy()
    clean = usable.join(again, on="event_id", how="anti").select(EVENT)
    doubtful = usable.join(again, on="event_id", how="semi").sort("known_at", "record", "file", "position")
    first = doubtful.unique("event_id", keep="first", maintain_order=True).select(EVENT)
    sink(pl.concat([clean, first]), out / "events.parquet")
    rejected = validated.filter(col("reason").is_not_null()).select("file", "position", "reason", "record")
    sink(rejected, out / "rejected_events.parquet")
    work.unlink()


if __name__ == "__main__":
    ingest(Path(asked.log), asked.style, Path(asked.out), key=Path(asked.key_file).read_bytes().strip())
