"""Work whose parts depend on one another: those that have no dependency on each other run side by side."""

from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def run_graph(graph: Mapping[Key, Collection[Key]], work: Callable[[Key], bool], *, parallel: int) -> None:
    """Call `work` for each key, after the keys that it depends on, for up to `parallel` keys at a time.

    Of the keys whose dependencies are done, the first in `graph` begin. `work` returns whether it succeeded; keys that
    depend on one that did not are left out. Where `work` raises, no other key is begun, and the error is raised once
    those under way have ended.
    """
    waiting = {key: set(before) for key, before in graph.items()}
    with ThreadPoolExecutor(max_workers=parallel) as workers:
        under_way: dict[Future[bool], Key] = {}
        while True:
            may_begin = [key for key, before in waiting.items() if not before][: parallel - len(under_way)]
            for key in may_begin:
                del waiting[key]
                # One at a time in this very thread, where a signal stops it.
                begun = workers.submit(work, key) if parallel > 1 else _now(work, key)
                under_way[begun] = key
            if not under_way:
                return
            for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                key = under_way.pop(ended)
                if ended.result():
                    for before in waiting.values():
                        before.discard(key)


def _now(work: Callable[[Key], bool], key: Key) -> Future[bool]:
    done: Future[bool] = Future()
    done.set_result(work(key))
    return done
