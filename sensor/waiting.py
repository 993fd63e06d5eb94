"""What one thread hands to another: so many bytes of it may wait, and either side can end it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Waiting(Generic[Item]):
    """Items on their way; one may wait in any case, more of them as far as their bytes allow.

    Parameters
    ----------
    room_bytes : int
        How many bytes may wait.
    """

    def __init__(self, room_bytes: int) -> None:
        self._room_bytes = room_bytes
        self._items: deque[tuple[Item | None, int]] = deque()
        self._bytes = 0
        self._given_up = False
        self._change = threading.Condition()
        self.is_full = False
        """Whether the last one had to wait until it was put."""

    def put(self, item: Item | None, size_bytes: int) -> bool:
        """Add one once there is room for it; says whether anybody still wants it. None is the end."""
        with self._change:
            self.is_full = not self._has_room(size_bytes)
            self._change.wait_for(lambda: self._given_up or self._has_room(size_bytes))
            if not self._given_up:
                self._items.append((item, size_bytes))
                self._bytes += size_bytes
                self._change.notify_all()
            return not self._given_up

    def get(self) -> Item | None:
        """Take the next one, and wait for it; None is the end."""
        with self._change:
            self._change.wait_for(lambda: self._given_up or self._items)
            if self._given_up:
                return None
            item, size_bytes = self._items.popleft()
            self._bytes -= size_bytes
            self._change.notify_all()
            return item

    def give_up(self) -> None:
        """Drop what waits, and let nobody wait any longer."""
        with self._change:
            self._given_up = True
            self._items.clear()
            self._change.notify_all()

    def _has_room(self, size_bytes: int) -> bool:
        return not self._items or self._bytes + size_bytes <= self._room_bytes
