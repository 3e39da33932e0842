"""One contestant of bench_value on one file of customers: fit the laws, then say what each customer will bring in 56 days.

`python value_rivals.py lifetimes|pymc FILE OUT`, in a virtual environment that holds the library. Prints JSON.
"""

import json
import sys
import time

import numpy as np
import pandas as pd

WEEKS = 8.0
PENALTIES = (0.0, 0.001, 0.01, 0.1)  # lifetimes: what its fit is tried with, until it ends


def with_lifetimes(rows: pd.DataFrame) -> tuple[dict[str, object], pd.Series]:
    from lifetimes import BetaGeoFitter, GammaGammaFitter

    columns = rows["repeats"], rows["last_weeks"], rows["age_weeks"]
    for penalty in PENALTIES:
        try:
            orders = BetaGeoFitter(penalizer_coef=penalty).fit(*columns)
            break
        except Exception as error:
            print(f"penalty {penalty}: {error}"[:200], file=sys.stderr)
    else:
        raise SystemExit("lifetimes could not fit these customers")
    again = rows[rows["repeats"] > 0]
    spend = GammaGammaFitter(penalizer_coef=penalty).fit(again["orders"], again["mean_cents"] / 100)
    fitted = time.monotonic()
    ahead = orders.conditional_expected_number_of_purchases_up_to_time(WEEKS, *columns)
    orders.conditional_probability_alive(*columns)
    amount = spend.conditional_expected_average_profit(rows["orders"], rows["mean_cents"] / 100) * 100
    names = {name: float(value) for name, value in {**orders.params_, **spend.params_}.items()}
    return {"fitted": fitted, "parameters": names, "penalty": penalty}, ahead * amount


def with_pymc(rows: pd.DataFrame) -> tuple[dict[str, object], np.ndarray]:
    from pymc_marketing.clv import BetaGeoModel, GammaGammaModel

    data = pd.DataFrame(
        {
            "customer_id": np.arange(len(rows)),
            "frequency": rows["repeats"],
            "recency": rows["last_weeks"],
            "T": rows["age_weeks"],
            "monetary_value": rows["mean_cents"] / 100,
        }
    )
    orders = BetaGeoModel(data.drop(columns="monetary_value"))
    orders.fit(method="map", progressbar=False)
    bought = data.assign(frequency=rows["orders"])
    spend = GammaGammaModel(bought[data["frequency"] > 0][["customer_id", "frequency", "monetary_value"]])
    spend.fit(method="map", progressbar=False)
    fitted = time.monotonic()
    ahead = np.asarray(orders.expected_purchases(data, future_t=WEEKS)).reshape(-1)
    orders.expected_probability_alive(data)
    amount = np.asarray(spend.expected_customer_spend(bought)).reshape(-1) * 100
    names = {
        str(name): float(values.mean()) for model in (orders, spend) for name, values in model.idata.posterior.items()
        if values.size == 1
    }  # fmt: skip
    return {"fitted": fitted, "parameters": names}, ahead * amount


def main() -> None:
    engine, file, out = sys.argv[1:]
    rows = pd.read_parquet(file)
    begun = time.monotonic()
    done, value = {"lifetimes": with_lifetimes, "pymc": with_pymc}[engine](rows)
    pd.DataFrame({"value": np.asarray(value)}).to_parquet(out)
    ended = time.monotonic()
    fitted = float(str(done.pop("fitted")))
    print(
        json.dumps(
            {**done, "fit_seconds": fitted - begun, "score_seconds": ended - fitted, "sum": float(np.sum(value))}
        )
    )


if __name__ == "__main__":
    main()
