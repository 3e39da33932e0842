"""The work of ingestion by DuckDB: `python ingest_duckdb.py LOG FORMAT OUT`. Rules and event ids are those of clm-spark."""

import argparse
import hashlib
from pathlib import Path

import duckdb
from shop_log import ATTRIBUTES, COLUMNS, EVENT, IDENTIFYING_FIELDS, KINDS, MAX_RECORD_BYTES, NEEDS_ITEM, SOURCE, TEXTS

NUMBERS = ("quantity_number", "price_cents", "amount_cents", "discount_cents")
SOLD = "kind IN ('purchase', 'refund')"


def records(log: str, style: str) -> str:
    """File, line and text of every record; a row of Parquet as JSON."""
    if style == "parquet":
        # Of text all through: JSON has no word for a price that is not a number.
        row = ", ".join(f"{name} := CAST({name} AS VARCHAR)" for name in COLUMNS)
        return (
            f"SELECT filename AS file, file_row_number + 1 AS position, CAST(to_json(struct_pack({row})) AS VARCHAR) AS record "
            f"FROM read_parquet('{log}/*.parquet', filename = true, file_row_number = true)"
        )
    ending, header = {"csv": ("csv", ",".join(COLUMNS)), "jsonl": ("json", "")}[style]
    # File by file: over all of them at once DuckDB numbers lines as they come. Headers and blank lines count as lines.
    lines = [
        f"""SELECT '{file}' AS file, row_number() OVER () AS position, record
            FROM read_csv('{file}', columns = {{'record': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '',
                header = false, auto_detect = false, max_line_size = 4000000)"""
        for file in sorted(Path(log).glob(f"*.{ending}"))
    ]
    return f"SELECT * FROM ({' UNION ALL '.join(lines)}) WHERE trim(record) NOT IN ('', '{header}')"


def cells(raw: str, style: str) -> str:
    """The columns of each record as text, null where it says nothing."""
    if style == "csv":
        # A line is cut at its commas unless it holds a quote; those few are cut by a regular expression.
        quoted = r"""regexp_extract_all(record || ',', '((?:"(?:[^"]|"")*")|[^",]*),', 1)"""
        bare = (
            f"""list_transform({quoted}, lambda x: CASE WHEN x[1] = '"' THEN replace(x[2:-2], '""', '"') ELSE x END)"""
        )
        cut = f"CASE WHEN contains(record, '\"') THEN {bare} ELSE string_split(record, ',') END"
        is_parsable = f"len(cells) = {len(COLUMNS)}"
    else:
        paths = ", ".join(f"'$.{name}'" for name in COLUMNS)
        cut = f"CASE WHEN json_valid(record) THEN json_extract_string(record, [{paths}]) END"
        is_parsable = "cells IS NOT NULL"
    named = ", ".join(f"nullif(trim(cells[{n}]), '') AS {name}" for n, name in enumerate(COLUMNS, start=1))
    return f"SELECT file, position, record, {is_parsable} AS is_parsable, {named} FROM (SELECT *, {cut} AS cells FROM {raw})"


def hmac(text: str, key: bytes) -> str:
    """HMAC-SHA256 (RFC 2104), hexadecimal."""
    short = hashlib.sha256(key).digest() if len(key) > 64 else key
    padded = short.ljust(64, b"\0")
    inner, outer = ("".join(f"\\x{byte ^ mask:02X}" for byte in padded) for mask in (0x36, 0x5C))
    return f"sha256('{outer}'::BLOB || unhex(sha256('{inner}'::BLOB || encode({text}))))"


def typed(read: str, key: bytes) -> str:
    """Types, the reason to reject a record, the customer's pseudonym and the event's id."""
    cents = ", ".join(
        f"TRY_CAST(round(TRY_CAST({name} AS DECIMAL(20, 6)) * 100) AS BIGINT) AS {name}_cents, {name} AS {name}_text"
        for name in ("price", "amount", "discount")
    )
    texts = ("quantity_text", "price_text", "amount_text", "discount_text")
    is_bad = " OR ".join(
        f"({text} IS NOT NULL AND {number} IS NULL)" for text, number in zip(texts, NUMBERS, strict=True)
    )
    least = ", ".join(f"coalesce({name}, 0)" for name in NUMBERS)
    # A line of an order is told by its day.
    of_day = "CASE WHEN kind = 'purchase' AND order_id IS NOT NULL THEN occurred_us - occurred_us % 86400000000 ELSE occurred_us END"
    told = (of_day if name == "occurred_us" else name for name in IDENTIFYING_FIELDS)
    cells = ", ".join(f"coalesce(CAST({cell} AS VARCHAR), '')" for cell in told)
    names = ", ".join(f"CASE WHEN {name} IS NOT NULL THEN '{name}' END" for name in ATTRIBUTES)
    pairs = ", ".join(f"{{'key': '{name}', 'value': {name}}}" for name in ATTRIBUTES)
    return f"""
    SELECT *, epoch_us(occurred_at) AS occurred_us,
      md5(concat_ws('\x1f', {cells}, {names}, {", ".join(ATTRIBUTES)})) AS event_id
    FROM (
    SELECT file, position, record, {", ".join(TEXTS)}, kind, occurred_at, coalesce(logged_known_at, occurred_at) AS known_at,
      price_cents, discount_cents, {", ".join(ATTRIBUTES)}, '{SOURCE}' AS source,
      {hmac("raw_customer_id", key)} AS customer_id,
      map_from_entries(list_filter([{pairs}], lambda x: x.value IS NOT NULL)) AS attributes,
      CASE WHEN quantity_number IS NULL AND {SOLD} THEN 1 ELSE CAST(ceil(quantity_number) AS BIGINT) END AS quantity,
      coalesce(amount_cents, CASE WHEN {SOLD} THEN CAST(round(price_cents * coalesce(quantity_number, 1)) AS BIGINT) END)
        AS amount_cents,
      CASE WHEN octet_length(encode(record)) > {MAX_RECORD_BYTES} THEN 'too_large'
           WHEN NOT is_parsable THEN 'unparsable'
           WHEN raw_customer_id IS NULL THEN 'missing_customer'
           WHEN kind IS NULL OR kind NOT IN {KINDS} THEN 'unknown_kind'
           WHEN occurred_at IS NULL OR occurred_at < TIMESTAMPTZ '1995-01-01' OR occurred_at > now() + INTERVAL 1 DAY
             OR (known_at_text IS NOT NULL AND logged_known_at IS NULL) THEN 'impossible_time'
           WHEN kind IN {NEEDS_ITEM} AND item_id IS NULL THEN 'missing_item'
           WHEN {is_bad} THEN 'bad_number'
           WHEN least({least}) < 0 THEN 'negative_quantity' END AS reason
    FROM (
    SELECT file, position, record, is_parsable, customer_id AS raw_customer_id, lower(kind) AS kind,
      TRY_CAST(occurred_at AS TIMESTAMPTZ) AS occurred_at, TRY_CAST(known_at AS TIMESTAMPTZ) AS logged_known_at,
      known_at AS known_at_text, TRY_CAST(quantity AS DECIMAL(18, 4)) AS quantity_number, quantity AS quantity_text,
      {cents}, {", ".join(TEXTS)}, {", ".join(ATTRIBUTES)}
    FROM ({read})))"""


def ingest(log: str, style: str, out: Path, *, key: bytes, memory: str, threads: int) -> None:
    """Keep every record as it is, then write what can be used of it once, and set the rest aside."""
    out.mkdir(parents=True)
    db = duckdb.connect(str(out / "work.duckdb"))
    db.execute(f"SET memory_limit = '{memory}'; SET threads = {threads}")
    db.execute(f"SET TimeZone = 'UTC'; SET temp_directory = '{out / 'spill'}'")
    raw = f"'{out / 'raw_events.parquet'}'"
    db.execute(f"COPY ({records(log, style)}) TO {raw}")
    db.execute("SET preserve_insertion_order = false")  # before, lines would be numbered as they come
    db.execute(f"CREATE TABLE typed AS {typed(cells(raw, style), key)}")
    first = "QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY known_at, record, file, position) = 1"
    event = ", ".join(EVENT)
    # Only duplicates are sorted; the rest passes through.
    again = "(SELECT event_id FROM typed WHERE reason IS NULL GROUP BY event_id HAVING count(*) > 1)"
    db.execute(f"""COPY (
        SELECT {event} FROM typed WHERE reason IS NULL AND event_id NOT IN {again} UNION ALL
        SELECT {event} FROM (SELECT * FROM typed WHERE reason IS NULL AND event_id IN {again} {first})
        ) TO '{out / "events.parquet"}'""")
    rejected = "SELECT file, position, reason, record FROM typed WHERE reason IS NOT NULL"
    db.execute(f"COPY ({rejected}) TO '{out / 'rejected_events.parquet'}'")


if __name__ == "__main__":
    ask = argparse.ArgumentParser(description=__doc__)
    for name in ("log", "style", "out"):
        ask.add_argument(name)
    ask.add_argument("--key-file", default="conf/demo.key")
    ask.add_argument("--memory", default="6GB")
    ask.add_argument("--cores", type=int, default=2)
    asked = ask.parse_args()
    key = Path(asked.key_file).read_bytes().strip()
    ingest(asked.log, asked.style, Path(asked.out), key=key, memory=asked.memory, threads=asked.cores)
