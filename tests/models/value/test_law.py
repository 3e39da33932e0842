"""The law fitted by Spark: sums by partition are those of one array, and thin shops are told what they lack."""

from datetime import date

import numpy as np
import pytest
from pyspark.sql import functions as F
from simulated import SPEND, TRUE, simulate

from clm_spark.errors import TooLittleDataError
from clm_spark.models.value import bg_nbd
from clm_spark.models.value.bg_nbd import BgNbd
from clm_spark.models.value.fit import total_of, total_of_partitions
from clm_spark.models.value.histories import HISTORY, counted, purchase_histories
from clm_spark.models.value.law import Law, fit_law

AS_OF = date(2024, 3, 1)
COLUMNS = (
    "shop string, customer_id string, as_of date, num_purchase_days bigint, first_purchase_days bigint, "
    "purchase_recency_days bigint, net_revenue_cents bigint, num_orders_30d bigint, num_orders_60d bigint"
)


def features(spark, rows):
    """Of (shop, purchase days, days since the first, days since the last, net revenue)."""
    named = [
        (shop, f"{shop}-{number}", AS_OF, days, first, last, cents, int(last is not None and last <= 30), 2)
        for number, (shop, days, first, last, cents) in enumerate(rows)
    ]
    return spark.createDataFrame(named, COLUMNS)


def simulated_features(spark, num, *, seed):
    customers = simulate(num, seed=seed, weeks_ahead=1)
    first = np.round(customers.age * 7).astype(int)
    last = first - np.floor(customers.last * 7).astype(int)
    days = np.minimum(customers.repeats, first - last).astype(int) + 1  # no more than one purchase a day
    cents = np.round(customers.mean * days).astype(int)
    return features(spark, [("shop", *map(int, row)) for row in zip(days, first, last, cents, strict=True)])


def test_sums_by_partition_are_those_of_one_array_and_parameters_are_found_again(spark):
    rows = simulated_features(spark, 3000, seed=11).persist()
    histories = purchase_histories(rows)
    compressed = counted(histories, *HISTORY).persist()
    assert compressed.count() < 2500, "customers of one history are one row"
    assert compressed.agg(F.sum("num_customers")).head()[0] == 3000

    def terms(parameters, columns):
        return bg_nbd.log_likelihood_terms(BgNbd(*parameters), *columns)

    at = np.array([0.7, 6.0, 1.2, 3.0])
    one, by_partition = total_of(compressed, terms), total_of_partitions(compressed.repartition(3), terms)
    for mine, theirs in zip(one(at), by_partition(at), strict=True):
        assert theirs == pytest.approx(mine, rel=1e-12)
    uncounted = np.array(histories.select(*HISTORY).collect()).T
    values, gradient = terms(at, uncounted)
    assert one(at)[0] == pytest.approx(values.sum(), rel=1e-12)
    assert one(at)[1] == pytest.approx(gradient.sum(axis=1), rel=1e-9)

    law = fit_law(rows, min_repeat_customers=10)
    assert Law.from_json(law.to_json()) == law
    off = np.log([getattr(law.purchases, name) / getattr(TRUE, name) for name in BgNbd.names])
    assert np.all(np.abs(off) < 3.5 * np.sqrt(np.diag(law.purchases_covariance)))
    off = np.log([getattr(law.spend, name) / getattr(SPEND, name) for name in ("p", "q")])
    assert np.all(np.abs(off) < 3.5 * np.sqrt(np.diag(law.spend_covariance)[:2]))


def test_the_law_is_the_same_in_every_digit_in_whatever_order_its_customers_stand(spark):
    rows = simulated_features(spark, 300, seed=5).persist()
    laws = set()
    for seed in range(3):
        order = F.hash("customer_id", F.lit(seed))
        placed = rows.repartition(3, order).sortWithinPartitions(order)
        laws.add(fit_law(placed, min_repeat_customers=10).to_json())
    assert len(laws) == 1


THIN = {  # rows of (purchase days, days since the first, days since the last, net revenue); what is said, None: it is fitted
    "three customers": ([(3, 50, 2, 900), (2, 40, 3, 500), (4, 60, 1, 700)], "3 of 3 buyers"),
    "nobody repeats": ([(1, 10 + n, 10 + n, 1000) for n in range(40)], "0 of 40 buyers"),
    "nobody bought": ([(0, None, None, 0)] * 5, "0 of 0 buyers"),
    "only refunds": ([(0, None, None, -500)] * 12, "0 of 0 buyers"),
    "constant spend": ([(2 + n % 3, 60 + n, 5 + n % 9, 1000 * (2 + n % 3)) for n in range(40)], None),
    "all paid back": ([(2 + n % 3, 60 + n, 5 + n % 9, 0) for n in range(40)], None),
    "all the same": ([(5, 60, 4, 5000)] * 40, None),
}


@pytest.mark.parametrize("case", THIN)
def test_a_thin_shop_is_told_what_it_lacks_or_gets_a_law_that_says_something(spark, case):
    rows, said = THIN[case]
    shop = features(spark, [(case, *row) for row in rows])
    if said is not None:
        with pytest.raises(TooLittleDataError, match=f"{said} have bought on a second day, and 10 are needed"):
            fit_law(shop, min_repeat_customers=10)
        return
    law = fit_law(shop, min_repeat_customers=10)
    assert np.all(np.isfinite([law.purchases.r, law.purchases.alpha, law.purchases.a, law.purchases.b]))
    mean = {"constant spend": 1000, "all paid back": 0, "all the same": 1000}[case]
    assert law.mean_order_cents == pytest.approx(mean)
    assert (law.spend is None) == (case == "all paid back")
