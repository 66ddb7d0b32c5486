"""The threads that a service's handlers run on."""

import collections
import concurrent.futures
import threading
from typing import Callable, Deque, Dict

Task = Callable[[], None]


class Workers:
    """So many threads for tasks, which must not raise."""

    def __init__(self, threads: int, name: str, changed: threading.Condition):
        """`changed` is notified when the last task has ended."""
        self._executor = concurrent.futures.ThreadPoolExecutor(threads, f"socketbroker-{name}")
        self._changed = changed
        self._open = 0
        self._lanes: Dict[str, Deque[Task]] = {}

    @property
    def idle(self) -> bool:
        with self._changed:
            return self._open == 0

    def submit(self, task: Task) -> None:
        with self._changed:
            self._open += 1
        self._executor.submit(self._run, task)

    def submit_in_order(self, key: str, task: Task) -> None:
        """Runs the tasks of one key one after another."""
        with self._changed:
            lane = self._lanes.get(key)
            if lane is not None:
                lane.append(task)
                return
            lane = self._lanes[key] = collections.deque([task])
        self.submit(lambda: self._run_lane(key, lane))

    def stop(self) -> None:
        """Starts no task any more; those that run are left alone."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, task: Task) -> None:
        try:
            task()
        finally:
            with self._changed:
                self._open -= 1
                if self._open == 0:
                    self._changed.notify_all()

    def _run_lane(self, key: str, lane: Deque[Task]) -> None:
        while True:
            with self._changed:
                if not lane:
                    del self._lanes[key]
                    return
                task = lane.popleft()
            task()
