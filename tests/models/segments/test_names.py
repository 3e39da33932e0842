import itertools

from clm_spark.models.segments.names import Portrait, names_for, sets_apart
from clm_spark.models.segments.space import SCALED


def portrait(segment, num_customers=10, *, has_bought=True, has_stopped=False, **differences):
    everything = dict.fromkeys(SCALED, 0.0) | differences
    return Portrait(segment, num_customers, everything, has_bought=has_bought, has_stopped=has_stopped)


def test_a_name_is_made_of_the_two_largest_differences():
    cases = [
        (portrait(0, log_orders=1.4, discount=0.9), "thrifty regulars"),
        (portrait(1, log_orders=0.9, discount=1.4), "frequent bargain hunters"),
        (portrait(2, log_recency=2.0, log_orders=-1.6, log_revenue=-1.7), "quiet small spenders"),
        (portrait(8, log_recency=1.7, log_orders=-1.8, log_revenue=-1.9), "occasional small spenders"),
        (
            portrait(9, has_stopped=True, log_recency=1.7, log_orders=-1.8, log_revenue=-1.9),
            "lapsed small spenders",
        ),
        (portrait(3, discount=-0.8, log_mean_order=0.7, log_orders=0.2), "full-price shoppers"),
        (portrait(4, log_trend=1.0), "rising customers"),
        (portrait(5, log_revenue=0.5, log_orders=0.1), "big spenders"),
        (portrait(6, log_orders=0.29, discount=-0.29), "average customers"),
        (portrait(7, has_bought=False, log_recency=1.0, log_orders=-2.0), "window shoppers"),
    ]
    assert names_for([each for each, _ in cases]) == {each.segment: name for each, name in cases}
    assert sets_apart(cases[2][0]) == ["longer silence (+2.0)", "less revenue (-1.7)", "fewer orders (-1.6)"]
    assert sets_apart(portrait(0, log_orders=0.29, discount=-0.29)) == []


def test_no_two_segments_have_the_same_name():
    alike = [portrait(number, 10 - number, log_orders=1.0, discount=0.8) for number in range(4)]
    assert names_for(alike) == {
        0: "thrifty regulars",
        1: "frequent bargain hunters",
        2: "regulars",
        3: "frequent customers",
    }
    told_by_nothing = [portrait(number) for number in range(3)]
    assert names_for(told_by_nothing) == {0: "average customers", 1: "average customers 2", 2: "average customers 3"}
    never = [portrait(n, 10 - n, has_bought=False, log_recency=r) for n, r in enumerate((0.0, -1.0, 1.0, 0.1))]
    assert list(names_for(never).values()) == [
        "window shoppers",
        "new window shoppers",
        "long-known window shoppers",
        "window shoppers 2",
    ]
    crowd = [portrait(number, log_orders=1.0, discount=0.8, log_trend=-0.5) for number in range(40)]
    assert len(set(names_for(crowd).values())) == 40


def test_names_do_not_depend_on_the_order_of_segments():
    several = [
        portrait(0, 30, log_orders=1.0, discount=0.8),
        portrait(1, 20, log_orders=0.9, discount=0.7),
        portrait(2, 20, log_orders=-0.9, log_recency=0.9),
    ]
    by_size = sorted(several, key=lambda each: (-each.num_customers, each.segment))
    names = names_for(by_size)
    for order in itertools.permutations(several):
        assert names_for(sorted(order, key=lambda each: (-each.num_customers, each.segment))) == names


def test_a_name_stays_while_its_words_hold():
    in_use = {0: "thrifty regulars", 1: "quiet small spenders", 2: "no clear group", 3: "average customers"}
    cases = [
        ("both words hold, others say more", portrait(0, log_orders=0.2, discount=0.15, log_trend=2.0), in_use[0]),
        ("one of them has turned", portrait(0, log_orders=1.0, discount=-0.5), "full-price regulars"),
        ("one of them has faded", portrait(0, log_orders=1.0, discount=0.05, log_revenue=0.5), "big-spending regulars"),
        ("they came back", portrait(1, log_recency=-0.9, log_revenue=-0.5), "recent small spenders"),
        ("still average", portrait(3, log_orders=0.2), in_use[3]),
        ("no more average", portrait(3, log_orders=0.8), "regulars"),
        ("a new number", portrait(9, log_orders=1.0, discount=0.8), "thrifty regulars"),
    ]
    found = {case: names_for([each], in_use=in_use)[each.segment] for case, each, _ in cases}
    assert found == {case: name for case, _, name in cases}
    # The name in use is not taken away by a larger segment that it would fit too.
    larger = portrait(7, 50, log_orders=1.5, discount=1.4)
    assert names_for([larger, portrait(0, 5, log_orders=0.3, discount=0.3)], in_use=in_use) == {
        0: "thrifty regulars",
        7: "frequent bargain hunters",
    }
    strangers = portrait(2, 3, log_orders=1.0)
    assert names_for([larger, strangers], in_use=in_use, unclear=2)[2] == "no clear group"
