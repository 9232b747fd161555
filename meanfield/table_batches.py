"""Requests that workers make together, gathered while a design is streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from meanfield.table_requests import Request

LARGEST = 64
"""Requests of a task."""
_LEAST = 8  # requests of a task when the last ones are shared out


class Batches:
    """Tasks from a stream of requests: those of one group are made together, the others one by one.

    What is held back until a task of its group is full are fewer than :data:`LARGEST` requests of each group.

    Args:
        requests: keys and requests.
        group_of: the group of a request; None for one that is made by itself.

    >>> from meanfield.table_requests import Request
    >>> stream = ((str(k), Request(cell="gru", length=k, hidden=4, inputs=2)) for k in range(1, 101))
    >>> batches = Batches(stream, lambda request: request.cell)
    >>> [len(task) for task in batches.take(4)], batches.take(4)
    ([64, 12, 12, 12], [])
    """

    def __init__(self, requests: Iterator[tuple[str, Request]], group_of: Callable[[Request], str | None]) -> None:
        self._requests, self._group_of = requests, group_of
        self._held: dict[str, dict[str, Request]] = {}

    def __contains__(self, key: str) -> bool:
        """Whether a request is held back."""
        return any(key in held for held in self._held.values())

    def take(self, room: int) -> list[dict[str, Request]]:
        """The next tasks, as many as there is room for; none once everything is taken."""
        tasks: list[dict[str, Request]] = []
        while len(tasks) < room:
            following = next(self._requests, None)
            if following is None:
                return tasks + self._last(room - len(tasks))
            key, request = following
            group = self._group_of(request)
            if group is None:
                tasks.append({key: request})
                continue
            held = self._held.setdefault(group, {})
            held[key] = request
            if len(held) == LARGEST:
                tasks.append(self._held.pop(group))
        return tasks

    def _last(self, room: int) -> list[dict[str, Request]]:
        """What is held back, in as many tasks as there is room for."""
        tasks: list[dict[str, Request]] = []
        while self._held and len(tasks) < room:
            group = next(iter(self._held))
            held = self._held[group]
            size = max(_LEAST, -(-len(held) // (room - len(tasks))))
            tasks.append({key: held.pop(key) for key in list(held)[:size]})
            if not held:
                del self._held[group]
        return tasks
