"""Customer features by Polars, from the files of silver.events: a baseline of `clm run build_features`.

Every event is read, as an analyst would for one morning. Windows and ratios are the oracle's, expressions are its own.
"""

import argparse
from datetime import date, datetime

import polars as pl
from features_in_duckdb import RATIOS, SUMS, TRENDS, named

MAX_GAP_US = 30 * 60 * 1_000_000
KEY, DAY = ["customer_id"], ["customer_id", "day_on"]
KIND, HOUR = pl.col("kind"), pl.col("occurred_at").dt.hour()
COUNTED = {
    "num_events": pl.lit(True),
    "num_acts": pl.col("is_act"),
    "num_views": KIND.is_in(["view", "click"]),
    "num_searches": KIND == "search",
    "num_carts": KIND == "cart",
    "num_lines": KIND == "purchase",
    "num_discounted": (KIND == "purchase") & (pl.col("discount_cents") > 0),
    "num_refunds": KIND == "refund",
    "num_campaigns": KIND == "campaign_sent",
    "num_coupons": KIND == "coupon_redeemed",
    "num_reviews": KIND == "review",
    "num_night": pl.col("is_act") & (HOUR < 6),
    "num_morning": pl.col("is_act") & HOUR.is_between(6, 11),
    "num_afternoon": pl.col("is_act") & HOUR.is_between(12, 17),
    "num_device": pl.col("is_act") & pl.col("device").is_not_null(),
    "num_mobile": pl.col("is_act") & pl.col("device").is_in(["phone", "mobile", "smartphone", "tablet"]),
    "num_channel": pl.col("is_act") & pl.col("channel").is_not_null(),
    "num_paid": pl.col("is_act") & pl.col("channel").is_in(["ads", "paid", "cpc", "display"]),
    "num_email": pl.col("is_act") & pl.col("channel").is_in(["email", "e-mail", "newsletter"]),
}
SUMMED = {
    "num_units": ("quantity", "purchase"),
    "revenue": ("amount_cents", "purchase"),
    "refund": ("amount_cents", "refund"),
    "discount": ("discount_cents", "purchase"),
}
BOUGHT = pl.col("num_orders") > 0
SHOPPED = pl.sum_horizontal("num_views", "num_searches", "num_carts", "num_lines") > 0
# The oracle's daily figures that are more than a column.
OF_DAYS = {
    "1": pl.lit(1, pl.Int64),
    "revenue - refund": pl.col("revenue") - pl.col("refund"),
    "revenue + discount": pl.col("revenue") + pl.col("discount"),
    "(num_orders > 0)::BIGINT": BOUGHT.cast(pl.Int64),
    "(isodow(day_on) >= 6)::BIGINT": (pl.col("day_on").dt.weekday() >= 6).cast(pl.Int64),
}


def features(events: pl.LazyFrame, as_of: date) -> pl.LazyFrame:
    """A row per customer known on the morning of `as_of`."""
    known = events.filter((pl.col("occurred_at") < _midnight(as_of)) & (pl.col("known_at") < _midnight(as_of)))
    marked = known.with_columns(
        pl.col("occurred_at").dt.date().alias("day_on"),
        (~KIND.is_in(["campaign_sent", "impression"])).alias("is_act"),
        *(pl.col("attributes").map.get(name).str.to_lowercase().alias(name) for name in ("device", "channel")),
        pl.col("occurred_at").dt.epoch("us").alias("us"),
    ).sort(*KEY, "is_act", "us")
    silence = pl.col("us") - pl.col("us").shift(1).over(*KEY, "is_act")
    is_first = (silence > MAX_GAP_US).fill_null(True)
    whole = (
        marked.with_columns(is_first.cum_sum().over(*KEY, "is_act").alias("visit"))
        .filter("is_act")
        .group_by(*KEY, "visit")
        .agg(
            pl.col("day_on").min(),
            ((pl.col("us").max() - pl.col("us").min()) // 1_000_000).alias("seconds"),
            pl.len().alias("acts"),
            (KIND == "purchase").sum().alias("lines"),
            (KIND == "cart").sum().alias("carts"),
        )
    )
    of_visits = {
        "num_visits": pl.len(),
        "visit_seconds": pl.col("seconds").sum(),
        "num_bounces": (pl.col("acts") == 1).sum(),
        "num_buying_visits": (pl.col("lines") > 0).sum(),
        "num_cart_visits": (pl.col("carts") > 0).sum(),
        "num_abandoned_visits": ((pl.col("carts") > 0) & (pl.col("lines") == 0)).sum(),
    }
    visits = whole.group_by(DAY).agg(figure.cast(pl.Int64).alias(name) for name, figure in of_visits.items())
    order = pl.coalesce("order_id", "event_id").alias("order")
    bought = marked.filter(KIND == "purchase").select(*DAY, order).unique()
    the_day_before = bought.with_columns(pl.col("day_on").dt.offset_by("1d"))
    orders = (
        bought.join(the_day_before, on=[*DAY, "order"], how="anti")
        .group_by(DAY)
        .agg(pl.len().cast(pl.Int64).alias("num_orders"))
    )
    days = (
        marked.group_by(DAY)
        .agg(
            *(condition.sum().cast(pl.Int64).alias(name) for name, condition in COUNTED.items()),
            *(pl.col(of).filter(kind == KIND).sum().alias(name) for name, (of, kind) in SUMMED.items()),
        )
        .join(visits, on=DAY, how="left")
        .join(orders, on=DAY, how="left")
        .with_columns(
            *(pl.col(name).fill_null(0) for name in (*of_visits, "num_orders")),
            (pl.lit(as_of) - pl.col("day_on")).dt.total_days().alias("age"),
        )
        .sort(*KEY, "age")
    )
    gap = pl.when(BOUGHT).then(pl.col("age") - pl.col("age").shift(1).over(*KEY, BOUGHT)).alias("gap")
    age = pl.col("age")
    merged = (
        days.with_columns(gap)
        .group_by(KEY)
        .agg(
            age.max().alias("tenure_days"),
            age.min().alias("recency_days"),
            age.filter(BOUGHT).max().alias("first_purchase_days"),
            age.filter(BOUGHT).min().alias("purchase_recency_days"),
            age.filter(SHOPPED).max().alias("first_shopping_days"),
            age.filter(SHOPPED).min().alias("shopping_recency_days"),
            SHOPPED.sum().cast(pl.Int64).alias("num_shopping_days"),
            (pl.col("gap") ** 2).sum().alias("squared_gaps"),
            *(
                _of_day(of).filter(age <= window).sum().alias(named(stem, window))
                if window
                else _of_day(of).sum().alias(named(stem, None))
                for stem, (of, windows) in SUMS.items()
                for window in windows
            ),
        )
    )
    num_gaps = pl.col("num_purchase_days") - 1
    mean_gap = _ratio(pl.col("first_purchase_days") - pl.col("purchase_recency_days"), num_gaps)
    variance = pl.col("squared_gaps") / num_gaps - pl.col("mean_gap_days") ** 2
    shopping_gap = _ratio(
        pl.col("first_shopping_days") - pl.col("shopping_recency_days"), pl.col("num_shopping_days") - 1
    )
    gaps = {"mean_gap_days": mean_gap, "mean_shopping_gap_days": shopping_gap}
    return merged.with_columns(**gaps).with_columns(
        _ratio(pl.col("purchase_recency_days"), pl.col("mean_gap_days")).alias("overdue_ratio"),
        _ratio(pl.col("shopping_recency_days"), pl.col("mean_shopping_gap_days")).alias("shopping_overdue_ratio"),
        (pl.col("purchase_recency_days") - pl.col("shopping_recency_days"))
        .cast(pl.Float64)
        .alias("seen_after_purchase_days"),
        pl.when(pl.col("num_purchase_days") > 2)
        .then(pl.max_horizontal(variance, pl.lit(0.0)).sqrt() / pl.col("mean_gap_days"))
        .alias("gap_variation"),
        *(
            _ratio(pl.col(named(above, window)), pl.col(named(below, window))).alias(named(stem, window))
            for stem, (above, below, windows) in RATIOS.items()
            for window in windows
        ),
        *(
            ((pl.col(f"{stem}_{n}d") + 1) / (pl.col(f"{stem}_{2 * n}d") - pl.col(f"{stem}_{n}d") + 1)).alias(name)
            for name, (stem, n) in TRENDS.items()
        ),
    )


def _midnight(day: date) -> pl.Expr:
    return pl.lit(datetime(day.year, day.month, day.day)).cast(pl.Datetime("us", "UTC"))  # noqa: DTZ001 - cast to UTC


def _of_day(of: str) -> pl.Expr:
    return OF_DAYS.get(of, pl.col(of))


def _ratio(above: pl.Expr, below: pl.Expr) -> pl.Expr:
    return pl.when(below != 0).then(above / below)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("events", help="glob of the Parquet files")
    ask.add_argument("as_of", type=date.fromisoformat)
    ask.add_argument("out")
    asked = ask.parse_args()
    features(pl.scan_parquet(asked.events, hive_partitioning=False), asked.as_of).sink_parquet(asked.out)


if __name__ == "__main__":
    main()
