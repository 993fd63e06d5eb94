"""The same analysis on more than one machine: a file is a task of Dask's, and what the workers decoded is judged here.

A task reads, decompresses, hashes and decodes one file, and gives back its packets on the port with their payloads: of
mixed traffic a small part. They are merged by time here exactly as if the files had been read here, so the case is the
same to the byte. A task depends on nothing but its file: where a worker dies, the scheduler gives it to another.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np

from sensor import numbering
from sensor.errors import Mistake, OperatorError
from sensor.inputs import Inputs
from sensor.reading import FileReading
from sensor.schema import WEIRDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from sensor.inputs import Progress
    from sensor.reading import Look, Options, Part, Reading
    from sensor.schema import Input

_AHEAD: Final = 2  # files per worker that are decoded before they are needed
_LOCAL: Final = "local"
_RIGHT: Final = "give the address of a scheduler (tcp://host:8786), or local, or local:4 for so many workers"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came of one file; `mistakes` if nothing did."""

    parts: tuple[Part, ...] = ()
    facts: Input | None = None
    weird: tuple[int, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


def decode(name: str, at: int, options: Options) -> Decoded:
    """Read one file on a worker, as `inputs` would.

    Raises
    ------
    nothing
    """
    try:
        with FileReading(name, at, options) as reading:
            parts = tuple(part.compact() for part in reading.parts())
            return Decoded(parts, reading.summary(), tuple(reading.weird.tolist()))
    except OperatorError as error:
        return Decoded(mistakes=error.mistakes)


class _Remote:
    """A file that a worker decodes."""

    def __init__(self, pending: Any, size_bytes: int) -> None:
        self._pending = pending
        self._size_bytes = size_bytes
        self._result = Decoded()
        self.done_bytes = 0

    def __enter__(self) -> Self:
        """Wait for the file.

        Raises
        ------
        OperatorError
            If it cannot be read, or is no capture.
        """
        self._result = self._pending.result()
        if self._result.mistakes:
            raise OperatorError(*self._result.mistakes)
        return self

    def __exit__(self, *_: object) -> None:
        """Let the packets go."""
        self._pending.release()
        self._result = Decoded(facts=self._result.facts, weird=self._result.weird)

    @property
    def weird(self) -> npt.NDArray[np.int64]:
        """What was odd and gave no packet, by kind."""
        return np.array(self._result.weird or [0] * len(WEIRDS), dtype=np.int64)

    def parts(self) -> Iterator[Part]:
        """Yield the file's packets."""
        self.done_bytes = self._size_bytes
        yield from self._result.parts

    def summary(self) -> Input:
        """Return what was read."""
        return cast("Input", self._result.facts)


class ClusterInputs(Inputs):
    """Captures that the workers of a cluster read; see `Inputs`.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, names: Sequence[str], options: Options, client: Any, progress: Progress | None = None) -> None:
        super().__init__(names, options, progress)
        self._client = client
        self._pending: dict[int, Any] = {}
        # A worker needs to know what is read, not where this run keeps it.
        self._task = replace(options, keep=None, resume=False)
        self._closing = threading.Lock()
        self._is_closed = False

    def stop(self) -> None:
        """End the reading, and let the workers go; those that were started here end."""
        super().stop()
        with self._closing:  # whoever takes the portions stops it, and so does who is interrupted
            if self._is_closed:
                return
            self._is_closed = True
            cluster, self._client.cluster = self._client.cluster, None
            self._client.close()
            if cluster is not None:
                cluster.close()

    def _looks(self, names: list[str]) -> list[Look | Mistake]:
        return list(
            self._client.gather([self._client.submit(numbering.look_or_mistake, name, pure=False) for name in names])
        )

    def _digests(self, names: list[str]) -> list[str]:
        return list(self._client.gather([self._client.submit(numbering.digest, name, pure=False) for name in names]))

    def _reading(self, at: int) -> Reading:
        return _Remote(
            self._client.submit(decode, self._order[at], at, self._task, pure=False, retries=3), self._sizes[at]
        )

    def _ahead(self) -> int:
        return _AHEAD * max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))


def connect(address: str) -> Any:
    """Return a client of a scheduler, or of one that is started here for `local`.

    Raises
    ------
    OperatorError
        If Dask is not installed, or the scheduler does not answer.
    """
    try:
        import distributed  # heavy, and an extra
    except ImportError:
        right = "install swarmtap[cluster]"
        raise OperatorError(Mistake("--cluster", "needs dask.distributed, which is not installed", right)) from None
    dask: Any = distributed  # it has no types
    kind, _, count = address.partition(":")
    if kind == _LOCAL and (not count or count.isdigit()):
        workers = int(count) if count else None
        local = dask.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        return dask.Client(local)
    try:
        return dask.Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        raise OperatorError(Mistake("--cluster", f'"{address}" does not answer ({error})', _RIGHT)) from None
