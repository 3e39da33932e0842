"""The laws of purchases on CDNOW's sample: fitted to 39 weeks, held against the 39 after them.

`python tests/benchmarks/cdnow_holdout.py FOLDER [PNG]`; the folder holds CDNOW_sample.txt and the summary of the first 39 weeks. Prints
purchases by week, expected and as they came, by number of repeats so far, and how often intervals held; draws the weeks.
"""

import sys
from datetime import date
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from clm_spark.models.value import bg_nbd, gamma_gamma
from clm_spark.models.value.bg_nbd import BgNbd, expected_if_alive
from clm_spark.models.value.estimates import Histories, estimates
from clm_spark.models.value.fit import fit_by_likelihood, total_of_arrays
from clm_spark.models.value.gamma_gamma import GammaGamma
from clm_spark.models.value.law import Law
from clm_spark.models.value.settings import ValueSettings

BEGINS, WEEKS, FITTED_UNTIL = date(1997, 1, 1), 78, date(1997, 10, 1)


def purchases(folder: Path) -> pd.DataFrame:
    """A row per customer and day of the sample: day (0: the first of January 1997) and cents."""
    names = ["all", "id", "day", "num", "amount"]
    rows = pd.read_csv(folder / "CDNOW_sample.txt", sep=r"\s+", names=names, dtype={"day": str})
    day = (pd.to_datetime(rows.day) - pd.Timestamp(BEGINS)).dt.days
    return rows.assign(day=day, cents=rows.amount * 100).groupby(["id", "day"], as_index=False).cents.sum()


def fitted_law(folder: Path) -> tuple[Law, pd.DataFrame]:
    """The law as published: BG/NBD of all, Gamma-Gamma of those who bought again, from the authors' own summary."""
    rows = pd.read_csv(folder / "cdnow_customers_summary_with_transactions.csv")
    ones = np.ones(len(rows))
    columns = [rows[name].to_numpy(float) for name in ("x", "t_x", "T")]
    of_orders = total_of_arrays([*columns, ones], lambda p, c: bg_nbd.log_likelihood_terms(BgNbd(*p), *c))
    orders = fit_by_likelihood(of_orders, np.array([1.0, 30.0, 1.0, 1.0]), num_customers=len(rows))
    again = (rows.x > 0).to_numpy()
    spends = [rows.x[again].to_numpy(float), rows.zbar[again].to_numpy() * 100, ones[again]]
    of_spend = total_of_arrays(spends, lambda p, c: gamma_gamma.log_likelihood_terms(GammaGamma(*p), *c))
    spend = fit_by_likelihood(of_spend, np.array([1.0, 2.0, 3500.0]), num_customers=int(again.sum()))
    law = Law(
        BgNbd(*orders.parameters), orders.covariance, orders.log_likelihood, GammaGamma(*spend.parameters),
        spend.covariance, 0.0, 1.0, 0.0, len(rows), int(again.sum()),
    )  # fmt: skip
    return law, rows


def by_week(law: Law, bought: pd.DataFrame) -> pd.DataFrame:
    """Repeat purchases of each week, expected from the week of each first purchase on, and as they came."""
    first = bought.groupby("id").day.min()
    repeats = bought[bought.day > bought.id.map(first)]
    came = np.bincount((repeats.day // 7).to_numpy(), minlength=WEEKS)[:WEEKS]
    starts, num = np.unique(first.to_numpy() / 7, return_counts=True)
    ends, zero = np.arange(WEEKS + 1.0), np.zeros(len(starts))
    until = [expected_if_alive(law.purchases, zero, zero, weeks=np.maximum(end - starts, 0)) @ num for end in ends]
    return pd.DataFrame({"week": np.arange(1, WEEKS + 1), "expected": np.diff(until), "came": came})


def held(law: Law, summary: pd.DataFrame, bought: pd.DataFrame) -> pd.DataFrame:
    """Per customer: what was expected of the 39 weeks after the fit, the interval, and what came."""
    begins = (FITTED_UNTIL - BEGINS).days
    ahead = bought[(bought.day >= begins) & (bought.day < begins + 273)].groupby("id").cents.agg(["size", "sum"])
    x, last, age, mean = (summary[name].to_numpy(float) for name in ("x", "t_x", "T", "zbar"))
    asked = Histories(x, last, age, x, mean * 100)
    found = pd.DataFrame(estimates(law, asked, ValueSettings(horizon_days=273)))
    came = ahead.reindex(summary.ID).fillna(0).reset_index(drop=True)
    return found.assign(repeats=summary.x, num_came=came["size"], cents_came=came["sum"])


def chart(weeks: pd.DataFrame, file: Path) -> None:
    long = weeks.melt(id_vars="week", var_name="series", value_name="purchases")
    lines = alt.Chart(long).mark_line().encode(
        x=alt.X("week:Q", title="week of 1997 and 1998"), y=alt.Y("purchases:Q", title="repeat purchases"),
        color=alt.Color("series:N", title=None, scale=alt.Scale(range=["#D55E00", "#0072B2"])),
    )  # fmt: skip
    cut = alt.Chart(pd.DataFrame({"week": [39]})).mark_rule(strokeDash=[4, 3], color="#595959").encode(x="week:Q")
    file.write_bytes(vl_convert.vegalite_to_png((lines + cut).properties(width=620, height=260).to_dict(), scale=1.5))


def main() -> None:
    folder = Path(sys.argv[1])
    (law, summary), bought = fitted_law(folder), purchases(folder)
    print(law.purchases, law.purchases_log_likelihood, law.spend)
    weeks = by_week(law, bought)
    for begins, ends in ((1, 39), (40, 52), (53, 65), (66, 78), (40, 78)):
        part = weeks[weeks.week.between(begins, ends)][["expected", "came"]].sum()
        print(
            f"weeks {begins} to {ends}: {part.expected:.0f} expected, {part.came:.0f} came, {part.expected / part.came - 1:+.1%}"
        )
    rows = held(law, summary, bought)
    for repeats, part in rows.groupby(rows.repeats.clip(upper=7)):
        print(
            f"{repeats} repeats: {len(part)} customers, {part.expected_orders.mean():.3f} expected, {part.num_came.mean():.3f} came"
        )
    inside = (rows.cents_came >= rows.value_low) & (rows.cents_came <= rows.value_high)
    print(f"inside the 95 % interval: {inside.mean():.1%}; of those with repeats {inside[rows.repeats > 0].mean():.1%}")
    spread = ((rows.cents_came - rows.cents_came.mean()) ** 2).sum()
    print(
        f"squared skill {1 - ((rows.cents_came - rows.value) ** 2).sum() / spread:.3f}; {rows.value.sum() / rows.cents_came.sum() - 1:+.1%} in all"
    )
    if len(sys.argv) > 2:
        chart(weeks, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
