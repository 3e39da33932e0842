import random
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pytest
from shop_events import at, events, on, sign

from clm_spark.events.identity import components as stars
from clm_spark.events.identity.components import components
from clm_spark.events.identity.history import smallest_reached
from clm_spark.events.identity.persons import known_persons, with_person
from clm_spark.events.visits.repair import build_sessions
from clm_spark.jobs import stitch_identities
from clm_spark.settings import IdentitySettings
from clm_spark.tables import catalog as t
from clm_spark.tables.lake import Lake

FIRST = date(2024, 2, 1)
LIMITS = IdentitySettings(max_logins_per_visitor=2, max_ids_per_person=8)


def first_of_each(edges):
    """The smallest node that each node is joined to, by union-find."""
    parent = {node: node for edge in edges for node in edge}

    def root(node):
        while parent[node] != node:
            node = parent[node]
        return node

    for a, b in edges:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {node: root(node) for node in parent}


def random_edges():
    """Some 400 edges: a long chain, a star, a ring, and clouds of all densities."""
    drawn = random.Random(5)
    chain = list(range(1000, 1100))
    drawn.shuffle(chain)
    ring = list(range(2000, 2030))
    clouds = [(3000 + 100 * k + drawn.randrange(9 * k), 3000 + 100 * k + drawn.randrange(9 * k)) for k in range(1, 8) for _ in range(30)]  # fmt: skip
    edges = [*pairwise(chain), *zip(ring, ring[1:] + ring[:1], strict=True)]
    return [*edges, *((500, leaf) for leaf in range(2100, 2130)), *((a, b) for a, b in clouds if a != b)]


def test_components_are_those_of_union_find(spark, monkeypatch):
    edges = random_edges()
    expected = first_of_each(edges)
    found = components(spark.createDataFrame(edges, "a bigint, b bigint")).collect()
    assert len(found) == len(expected)
    assert {row.node: row.component for row in found} == expected

    places = {node: place for place, node in enumerate(sorted(expected))}
    a, b = (np.array([places[edge[end]] for edge in edges]) for end in (0, 1))
    least = smallest_reached(len(places), a, b)
    assert {node: least[place] for node, place in places.items()} == {n: places[f] for n, f in expected.items()}

    monkeypatch.setattr(stars, "MAX_ROUNDS", 1)
    with pytest.raises(Exception, match=r"were not found in 1 rounds"):
        components(spark.createDataFrame(edges[:2], "a bigint, b bigint"))


def drawn_links():
    """(visitor id, login, day): devices of one person, shared ones, and a crowd around a few logins."""
    drawn = random.Random(35)
    few = [(f"v{drawn.randrange(70):02}", f"l{drawn.randrange(60):02}", drawn.randrange(12)) for _ in range(110)]
    crowd = [(f"w{number:02}", f"m{drawn.choice([0, 0, 1])}", drawn.randrange(3, 12)) for number in range(12)]
    kiosk = [("kiosk", f"l{number:02}", drawn.randrange(2, 9)) for number in range(9)]
    return [(visitor, login, FIRST + timedelta(days=day)) for visitor, login, day in [*few, *crowd, *kiosk]]


def by_hand(links):
    """What silver.identities and silver.identity_cutoffs must hold: the rules, day by day over the whole graph."""
    first_on = {}
    for visitor, login, day in links:
        first_on[login] = min(first_on.get(login, (day, 0, login)), (day, 0, login))
        first_on[visitor] = min(first_on.get(visitor, (day, 1, visitor)), (day, 1, visitor))
    rows, cutoffs, state, shared = set(), set(), {name: (name, False) for name in first_on}, set()
    for day in sorted({day for *_, day in links}):
        logins = {}
        for visitor, login, known_on in links:
            if known_on <= day:
                logins.setdefault(visitor, set()).add(login)
        for visitor in sorted(logins):
            if len(logins[visitor]) > LIMITS.max_logins_per_visitor and visitor not in shared:
                shared.add(visitor)
                cutoffs.add((visitor, day, "shared_visitor", len(logins[visitor])))
        held = [(first_on[v], first_on[login]) for v in logins if v not in shared for login in logins[v]]
        firsts = {node[-1]: first[-1] for node, first in first_of_each(held).items()}
        groups = {}
        for name in state:
            groups.setdefault(firsts.get(name, name), []).append(name)
        for first, names in groups.items():
            is_cut_off = len(names) > LIMITS.max_ids_per_person
            for name in names:
                now = (name if is_cut_off else first, is_cut_off)
                if now != state[name]:
                    state[name] = now
                    rows.add((name, day, now[0], len(names), is_cut_off))
                    if is_cut_off:
                        cutoffs.add((first, day, "large_group", len(names)))
    return rows, cutoffs


def add_batch(lake: Lake, batch: str, links):
    """Events of logged-in visitors, in a complete batch; then the job."""
    rows = [
        {"event_id": f"{batch}{n}", "customer_id": login, "visitor_id": visitor, "occurred_at": at(str(day)), "batch_id": batch}
        for n, (visitor, login, day) in enumerate(links)
    ]  # fmt: skip
    nobody = {"event_id": f"{batch}x", "customer_id": "v00", "visitor_id": "v00", "occurred_at": at(str(FIRST)), "batch_id": batch}  # fmt: skip
    sign(lake, batch, events(lake.spark, nobody, *rows))
    stitch_identities.run(lake, lake.settings)


def stored(lake: Lake):
    identities, cutoffs = (lake.read(table).collect() for table in (t.IDENTITIES, t.IDENTITY_CUTOFFS))
    assert len(set(identities)) == len(identities)
    return {tuple(row) for row in identities}, {(row.id, row.known_on, row.reason, row.num_ids) for row in cutoffs}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_identities_grow_with_the_links_and_the_past_stays(new_lake):
    lake = new_lake(identity=LIMITS.model_dump())
    links, middle = drawn_links(), FIRST + timedelta(days=6)
    expected_rows, expected_cutoffs = by_hand(links)
    # The cases are there: people with several ids, splits, groups that were cut off, and one that came back.
    ways = {row[:1] + row[2:3] for row in expected_rows}
    assert len(ways) > 60
    assert {reason for _, _, reason, _ in expected_cutoffs} == {"shared_visitor", "large_group"}
    cut_off = {name: day for name, day, *_, is_cut_off in expected_rows if is_cut_off}
    assert any(day > cut_off.get(name, day) for name, day, *_ in expected_rows), "a group came back"

    late = links[::9]  # of all days, known after everything else
    on_time = [link for link in links if link not in late]
    add_batch(lake, "a", [link for link in on_time if link[2] < middle])
    assert stored(lake) == by_hand([link for link in on_time if link[2] < middle])
    morning = sorted(map(str, lake.read_as_of(t.IDENTITIES, middle).collect()))

    add_batch(lake, "b", [link for link in on_time if link[2] >= middle])
    assert stored(lake) == by_hand(on_time)
    assert sorted(map(str, lake.read_as_of(t.IDENTITIES, middle).collect())) == morning
    tables = (t.IDENTITY_LINKS, t.IDENTITIES, t.IDENTITY_CUTOFFS)
    versions = [lake.version(table) for table in tables]
    stitch_identities.run(lake, lake.settings)
    assert [lake.version(table) for table in tables] == versions

    add_batch(lake, "c", [*late, *on_time[:5]])
    assert stored(lake) == (expected_rows, expected_cutoffs)


@pytest.mark.long
def test_an_id_maps_to_the_person_known_on_the_day(new_lake):
    lake = new_lake()
    none = lake.spark.createDataFrame([("v", on("2024-02-02"))], "customer_id string, as_of date")
    assert known_persons(lake, [on("2024-02-02")]) is None
    assert with_person(none, None) is none
    rows = [
        ("v", "2024-02-01", "ann", 2, False),
        ("v", "2024-02-05", "eve", 3, False),
        ("ann", "2024-02-05", "eve", 3, False),
        ("w", "2024-02-01", "bob", 2, False),
        ("w", "2024-02-05", "w", 1, False),
        ("many", "2024-02-01", "many", 900, True),
    ]
    table = [(name, on(day), *rest) for name, day, *rest in rows]
    lake.replace(lake.spark.createDataFrame(table, t.IDENTITIES.schema), into=t.IDENTITIES)
    cases = [  # id in the event, as_of, person
        ("v", "2024-02-01", "v"),
        ("v", "2024-02-02", "ann"),
        ("v", "2024-02-05", "ann"),
        ("v", "2024-02-06", "eve"),
        ("ann", "2024-02-02", "ann"),
        ("ann", "2024-02-06", "eve"),
        ("w", "2024-02-05", "bob"),
        ("w", "2024-02-06", "w"),
        ("many", "2024-02-06", "many"),
        ("stranger", "2024-02-06", "stranger"),
    ]
    asked = lake.spark.createDataFrame(
        [(name, on(day), person, name) for name, day, person in cases],
        "customer_id string, as_of date, expected string, id_in_event string",
    )
    persons = known_persons(lake, sorted({on(day) for _, day, _ in cases}))
    named = with_person(asked, persons)
    assert named.columns == asked.columns
    came = {(row.id_in_event, str(row.as_of)): row.customer_id for row in named.collect()}
    assert came == {(name, day): person for name, day, person in cases}
    undated = with_person(asked.drop("as_of").distinct(), known_persons(lake, [date.max]))
    assert {row.id_in_event: row.customer_id for row in undated.collect()} == {
        "v": "eve", "ann": "eve", "w": "w", "many": "many", "stranger": "stranger",
    }  # fmt: skip

    seen = [("v", "09:00"), ("eve", "09:10"), ("w", "09:20")]
    looked = events(
        lake.spark, *({"customer_id": name, "occurred_at": at("2024-02-03", clock)} for name, clock in seen)
    )
    sign(lake, "b1", looked)
    expected = {"eve": 2, "w": 1}
    for _ in range(2):  # the second time w is found to be eve's too, and only that has changed
        build_sessions(lake, lake.settings)
        assert {row.customer_id: row.num_events for row in lake.read(t.SESSIONS).collect()} == expected
        found = [("w", on("2024-02-07"), "eve", 4, False)]
        lake.replace(lake.spark.createDataFrame(found, t.IDENTITIES.schema), into=t.IDENTITIES, known_on=found[0][1])
        expected = {"eve": 3}
