"""What the lines of an order say together."""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from clm_spark.inspection.columns import ColumnSample

OF_A_LINE = ("item_id", "quantity", "price")


def totals_of_orders(columns: Mapping[str, ColumnSample], chosen: Mapping[str, str]) -> Iterator[str]:
    """A question where the amount of a line may be the total of its order: money would count once for each line.

    So it looks where the lines of every order differ, and all have the same amount.
    """
    if not {"order_id", "item_id", "amount"} <= set(chosen):
        return
    differing = [columns[chosen[name]].texts for name in OF_A_LINE if name in chosen]
    amounts: dict[str, set[str | None]] = defaultdict(set)
    kinds_of_line: dict[str, set[tuple[str | None, ...]]] = defaultdict(set)
    orders = columns[chosen["order_id"]].texts
    for order, amount, *line in zip(orders, columns[chosen["amount"]].texts, *differing, strict=True):
        if order is not None:
            amounts[order].add(amount)
            kinds_of_line[order].add(tuple(line))
    several = [order for order, lines in kinds_of_line.items() if len(lines) > 1]
    if not several or any(len(amounts[order]) > 1 for order in several):
        return
    order = several[0]
    (amount,) = amounts[order]
    instead = (
        f"take amount out of fields, and {chosen['price']} times the quantity counts"
        if "price" in chosen
        else "take amount out of fields, and write the price of a line as fields.price"
    )
    yield (
        f"whether {chosen['amount']} is what a line cost, or the total of its order: the {len(kinds_of_line[order])} lines of "
        f"order {order} all say {amount}, and so it is in {len(several)} orders of several lines; if it is the total, {instead}"
    )
