"""Order, number and failures of work side by side."""

import threading
import time

import pytest

from clm_spark.side_by_side import run_graph

#   a -> b -> d, a -> c -> d, e alone
GRAPH = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ()}


class Work:
    def __init__(self, *, fails: str = "", raises: str = "") -> None:
        self.fails, self.raises, self.begun, self.ended = fails, raises, [], []
        self.at_once = self.most = 0
        self.lock = threading.Lock()

    def __call__(self, key: str) -> bool:
        with self.lock:
            self.begun.append((key, set(self.ended)))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02)
        with self.lock:
            self.at_once -= 1
            self.ended.append(key)
        if key == self.raises:
            raise ValueError(key)
        return key != self.fails


@pytest.mark.parametrize("parallel", [1, 2])
def test_all_is_done_in_order(parallel):
    work = Work()
    run_graph(GRAPH, work, parallel=parallel)
    assert sorted(work.ended) == list("abcde")
    for key, ended in work.begun:
        assert ended >= set(GRAPH[key])


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (3, 3), (9, 6)])
def test_so_many_run_at_a_time(parallel, most):
    work = Work()
    run_graph(dict.fromkeys("abcdef", ()), work, parallel=parallel)
    assert work.most == most


@pytest.mark.parametrize("parallel", [1, 2])
def test_what_follows_from_a_failure_is_left_out(parallel):
    work = Work(fails="b")
    run_graph(GRAPH, work, parallel=parallel)
    assert sorted(work.ended) == ["a", "b", "c", "e"]


@pytest.mark.parametrize("parallel", [1, 2])
def test_an_error_lets_nothing_else_begin(parallel):
    work = Work(raises="a")
    with pytest.raises(ValueError, match="a"):
        run_graph(GRAPH, work, parallel=parallel)
    assert sorted(work.ended) == (["a"] if parallel == 1 else ["a", "e"])


def test_one_at_a_time_stays_in_the_callers_thread():
    threads = set()
    run_graph(GRAPH, lambda _: threads.add(threading.current_thread()) or True, parallel=1)
    assert threads == {threading.current_thread()}
