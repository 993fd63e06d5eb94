"""Inputs to the rows that are judged, in a thread of its own.

It needs neither policy nor pandas: flows are followed while the rest of the program is still being imported, and beside
judging. What it gives depends on packets and their times alone, so it is what would come of it without the thread.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from sensor.following import Following, Part
from sensor.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sensor.inputs import Inputs

_PATIENCE_S: Final = 1.0  # a kernel is not called back; none takes longer


class Trail:
    """What is followed of inputs, portion by portion.

    Parameters
    ----------
    inputs : Inputs
        Nobody else may take from it.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.following = Following(inputs.options.flows)
        self._inputs = inputs
        self._window_ns = inputs.options.flows.window_s * 1_000_000_000
        self._start_ns = 0
        self._begun = threading.Event()
        self._stopped = threading.Event()
        # One may wait, of whatever size: of a flood it is much, and there would be no end of it.
        self._waiting: Waiting[tuple[list[Part], int | None] | BaseException] = Waiting(0)
        self._thread = threading.Thread(target=self._run, name="trail", daemon=True)

    def start(self) -> Trail:
        """Begin to follow."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End the thread; what it has not handed over is dropped."""
        self._stopped.set()
        self._waiting.give_up()
        self._inputs.stop()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)

    def start_ns(self) -> int:
        """Wait for the first packet, and return its time; 0 if none comes."""
        self._begun.wait()
        return self._start_ns

    def parts(self) -> Iterator[tuple[list[Part], int | None]]:
        """Yield what is finished, and the time that all inputs have passed; with the last parts that is None.

        Of a flood the parts are much: empty the list to let them go.

        Raises
        ------
        OperatorError
            If nothing could be read at all.
        """
        try:
            while (told := self._waiting.get()) is not None:
                if isinstance(told, BaseException):
                    raise told
                yield told
        finally:
            self.stop()

    def _run(self) -> None:
        last: BaseException | None = None
        try:
            self._follow()
        except BaseException as error:  # noqa: BLE001 - it is raised where the parts are taken
            last = error
        self._begun.set()
        self._waiting.put(last, 0)

    def _follow(self) -> None:
        following = self.following
        for portion in self._inputs.portions():
            if not self._begun.is_set():
                self._start_ns = int(portion.ordered.packets["ts_ns"][0])
                self._begun.set()
            following.push(portion.ordered)
            if following.is_due and not self._tell(portion.watermark_ns):
                return
            del portion
        self._begun.set()
        if not self._stopped.is_set():  # inputs that were stopped end like others
            self._tell(None)

    def _tell(self, watermark_ns: int | None) -> bool:
        """Hand over what is finished; says whether anybody still wants it."""
        following = self.following
        edge_ns = None if watermark_ns is None else watermark_ns // self._window_ns * self._window_ns
        # By portions, though they are judged together: one array of all rows would be copied each time it grows.
        return self._waiting.put(([*following.portions(edge_ns), following.take(edge_ns)], watermark_ns), 1)
