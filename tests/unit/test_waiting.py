"""What one thread hands to another: in order, bounded by bytes, ended by either side."""

from __future__ import annotations

import threading

from sensor.waiting import Waiting


def filled(waiting: Waiting[int]) -> None:
    """Wait until the other thread has to wait."""
    for _ in range(1000):
        if waiting.is_full:
            return
        threading.Event().wait(0.005)
    raise AssertionError


def test_in_order_and_to_the_end() -> None:
    waiting: Waiting[int] = Waiting(100)
    thread = threading.Thread(target=lambda: [waiting.put(at, 40) for at in range(1, 50)] + [waiting.put(None, 0)])
    thread.start()
    filled(waiting)
    assert list(iter(waiting.get, None)) == list(range(1, 50))
    thread.join()


def test_one_may_wait_whatever_its_size() -> None:
    waiting: Waiting[str] = Waiting(10)
    assert waiting.put("large", 1000)
    assert not waiting.is_full
    assert waiting.get() == "large"


def test_who_waits_for_room_is_let_go() -> None:
    waiting: Waiting[int] = Waiting(10)
    said: list[bool] = []
    thread = threading.Thread(target=lambda: said.extend([waiting.put(1, 10), waiting.put(2, 10)]))
    thread.start()
    filled(waiting)
    waiting.give_up()
    thread.join(5)
    assert said == [True, False]
    assert waiting.get() is None


def test_who_waits_for_an_item_is_let_go() -> None:
    waiting: Waiting[int] = Waiting(10)
    said: list[int | None] = []
    thread = threading.Thread(target=lambda: said.append(waiting.get()))
    thread.start()
    waiting.give_up()
    thread.join(5)
    assert said == [None]
    assert not waiting.put(1, 1)
