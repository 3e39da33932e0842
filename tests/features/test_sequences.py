"""Sequences carried on from the day before equal those made of the whole log."""

import pytest
from changing_shop import MORNINGS, ChangingShop, steps
from daily_runs import rows

from clm_spark.events.ledger import is_on_days
from clm_spark.features.customers import ids_of
from clm_spark.features.sequences import customers_out_of_order, item_sequences, next_item_sequences
from clm_spark.tables import catalog as t

LENGTH = 4


@pytest.mark.long
@pytest.mark.timeout(900)
def test_carrying_on_gives_what_the_whole_log_gives(spark):
    shop = ChangingShop(spark)
    asked = {"kinds": ["view", "cart"], "length": LENGTH}
    whole = item_sequences(shop.log, shop.vocabulary, shop.persons, days=MORNINGS, **asked).localCheckpoint()

    for yesterday, morning in steps():
        was, now = shop.items_of(yesterday), shop.items_of(morning)
        moved = now.exceptAll(was).unionByName(was.exceptAll(now))
        two = shop.persons_of(yesterday, morning)
        again = customers_out_of_order(shop.customer_item_days, moved, as_of=morning, persons=two).localCheckpoint()

        def made_of(theirs, day=morning):
            return item_sequences(theirs, shop.vocabulary, shop.persons, days=[day], **asked)

        of_day = made_of(shop.log.where(is_on_days("occurred_at", [yesterday])))
        before = whole.where(f"as_of = '{yesterday}'")
        carried = next_item_sequences(before, of_day, again, as_of=morning, length=LENGTH)
        theirs = shop.log.join(ids_of(again, shop.persons_of(morning)), on="customer_id", how="left_semi")
        got = rows(carried.unionByName(made_of(theirs)), t.ITEM_SEQUENCES)
        assert got == rows(whole.where(f"as_of = '{morning}'"), t.ITEM_SEQUENCES)
        left = {row.customer_id for row in again.collect()}
        assert 0 < len(left) < len(got) - 5, "most are carried on, some cannot be"
    assert {"c06", "c07"} <= left
    assert "c07" not in {row[0] for row in got}
    assert {row[3] for row in got} >= {1, LENGTH}
    assert {kind for row in got for kind in row[4]} == {"view", "cart"}
    assert all(list(row[5]) == sorted(row[5]) and len(row[5]) == row[3] for row in got)
    prices = {price for row in got for price in row[6]}
    assert None in prices, "of an amount for no quantity"
    assert {price for price in prices if price and price > 100}
    assert {price for price in prices if price and price < 100}
