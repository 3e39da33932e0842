"""Whether one law of purchases for all does as well as a law per group of customers, on CDNOW's sample.

`python tests/benchmarks/cdnow_segments.py FOLDER`; the folder holds CDNOW_sample.txt and the summary of the first 39 weeks. Groups are
what is known of a customer when the law is asked: the month of the first order, and the third of its amount. Prints, for
each way of grouping, the gain in log-likelihood and AIC over the 39 weeks that are fitted, and how much nearer the expected
orders are to those of the 39 weeks after, as squared error, with a 95 % interval by bootstrap over customers.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from cdnow_holdout import BEGINS, FITTED_UNTIL, purchases

from clm_spark.models.value import bg_nbd
from clm_spark.models.value.bg_nbd import BgNbd
from clm_spark.models.value.fit import Fitted, fit_by_likelihood, total_of_arrays

WEEKS_AHEAD, NUM_PARAMETERS, REPLICATES = 39.0, 4, 2000


def customers(folder: Path) -> pd.DataFrame:
    """A row per customer: the history of 39 weeks, the groups, and the days with an order in the 39 weeks after."""
    rows = pd.read_csv(folder / "cdnow_customers_summary_with_transactions.csv")
    bought, begins = purchases(folder), (FITTED_UNTIL - BEGINS).days
    first = bought.sort_values("day").groupby("id").first().reindex(rows.ID)
    ahead = bought[(bought.day >= begins) & (bought.day < begins + 7 * WEEKS_AHEAD)].groupby("id").size()
    return rows.assign(
        month=(first.day // 30).to_numpy(),
        amount=pd.qcut(first.cents.to_numpy(), 3, labels=["low", "middle", "high"]),
        came=ahead.reindex(rows.ID).fillna(0).to_numpy(),
    )


def fitted(rows: pd.DataFrame) -> Fitted:
    columns = [*(rows[name].to_numpy(float) for name in ("x", "t_x", "T")), np.ones(len(rows))]
    total = total_of_arrays(columns, lambda p, c: bg_nbd.log_likelihood_terms(BgNbd(*p), *c))
    return fit_by_likelihood(total, np.array([1.0, 30.0, 1.0, 1.0]), num_customers=len(rows))


def expected(law: Fitted, rows: pd.DataFrame) -> np.ndarray:
    columns = (rows[name].to_numpy(float) for name in ("x", "t_x", "T"))
    return bg_nbd.expected_orders(BgNbd(*law.parameters), *columns, weeks=WEEKS_AHEAD)


def main() -> None:
    rows = customers(Path(sys.argv[1]))
    one = fitted(rows)
    of_one = (rows.came - expected(one, rows)) ** 2
    print(f"one law: log-likelihood {one.log_likelihood:.1f}, mean squared error {of_one.mean():.3f}")
    draws = np.random.default_rng(7).integers(len(rows), size=(REPLICATES, len(rows)))
    for name in ("month", "amount"):
        errors, gain = np.zeros(len(rows)), -one.log_likelihood
        for _, part in rows.groupby(name, observed=True):
            law = fitted(part)
            gain += law.log_likelihood
            errors[part.index] = (part.came - expected(law, part)) ** 2
        num_more = NUM_PARAMETERS * (rows[name].nunique() - 1)
        less = (of_one - errors).to_numpy()
        low, high = np.quantile(less[draws].mean(axis=1), (0.025, 0.975))
        print(
            f"a law per {name}: log-likelihood {gain:+.1f} for {num_more} more parameters (AIC {2 * num_more - 2 * gain:+.1f}), "
            f"mean squared error {errors.mean():.3f}, {less.mean():.4f} less ({low:.4f} to {high:.4f})"
        )


if __name__ == "__main__":
    main()
