"""The same analysis on more than one machine: a file is a task of Dask's, and what the workers decoded is judged here.

A task reads, decompresses, hashes and decodes one file, and gives back its packets on the port with their payloads: of
mixed traffic a small part. They are merged by time here exactly as if the files had been read here, so the case is the
same to the byte. A task depends on nothing but its file: where a worker dies, the scheduler gives it to another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, cast

import numpy as np
import numpy.typing as npt

from sensor.errors import Mistake, OperatorError
from sensor.inputs import Inputs, Options, first_and_last
from sensor.kernels.headers import gather_payloads
from sensor.sources.files import Reader, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sensor.inputs import Progress
    from sensor.schema import Batch, Bytes, Input, Rows

Counts = npt.NDArray[np.int64]
_AHEAD: Final = 2  # files per worker that are decoded before they are needed
_LOCAL: Final = "local"
_RIGHT: Final = "give the address of a scheduler (tcp://host:8786), or local, or local:4 for so many workers"


@dataclass(frozen=True, slots=True)
class Part:
    """What came of one batch: packets, the time that it reaches, and the payloads that the packets point into."""

    packets: Rows
    data: Bytes
    front_ns: int


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
    inputs = _One((name,), options)
    parts = []
    try:
        with Reader(name, at) as reader:
            for batch in reader.batches():
                packets, front_ns = inputs.decoded(batch)
                packets = packets.copy()
                data = np.empty(int(packets["payload_captured"].sum(dtype=np.int64)), dtype=np.uint8)
                gather_payloads(packets, batch.data, 0, data)
                parts.append(Part(packets, data, front_ns))
            facts = reader.summary(sha256(name) if options.hashes else "")
    except OperatorError as error:
        return Decoded(mistakes=error.mistakes)
    return Decoded(tuple(parts), facts, tuple(inputs.decoder.weird.tolist()))


class _One(Inputs):
    """One file's decoder and choice."""

    def decoded(self, batch: Batch) -> tuple[Rows, int]:
        return self._decoded(batch)


@dataclass(slots=True)
class _Facts:
    """What the progress is told of."""

    position: int = 0
    size_bytes: int = 0


@dataclass(slots=True)
class _Remote:
    """A file that a worker decodes; it is asked like a reader."""

    pending: Any
    facts: _Facts
    weird: Counts
    result: Decoded = field(default_factory=Decoded)

    def __enter__(self) -> Self:
        """Wait for the file."""
        self.result = self.pending.result()
        if self.result.mistakes:
            raise OperatorError(*self.result.mistakes)
        self.weird += np.array(self.result.weird, dtype=np.int64)
        return self

    def __exit__(self, *_: object) -> None:
        """Let the packets go."""
        self.pending.release()
        self.result = Decoded(facts=self.result.facts)

    def batches(self) -> Iterator[Part]:
        """Yield the file's packets."""
        self.facts.position = self.facts.size_bytes
        yield from self.result.parts

    def summary(self, _: str = "") -> Input:
        """Return what was read."""
        return cast("Input", self.result.facts)


class ClusterInputs(Inputs):
    """Captures that the workers of a cluster read; see `Inputs`.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, names: Sequence[str], options: Options, client: Any, progress: Progress | None = None) -> None:
        super().__init__(names, options, progress)
        self._client = client
        self._order: list[str] = []
        self._sizes: list[int] = []
        self._pending: dict[int, Any] = {}
        self._waiting: deque[int] = deque()

    def stop(self) -> None:
        """End the reading, and let the workers go; those that were started here end."""
        super().stop()
        cluster, self._client.cluster = self._client.cluster, None
        self._client.close()
        if cluster is not None:
            cluster.close()

    def read(self, digest: Callable[[Reader], str] = lambda _: "") -> tuple[Input, ...]:
        """Return what was read of each input; the workers have hashed it where it was read."""
        del digest
        return super().read()

    def _opened(self, name: str, at: int) -> Reader:
        del name  # the number tells it
        self._submit(at)
        remote = _Remote(self._pending.pop(at), _Facts(size_bytes=self._sizes[at]), self.decoder.weird)
        # It is asked like a reader, and gives parts where a reader gives batches; `_decoded` knows.
        return cast("Reader", remote)

    def _decoded(self, batch: Batch) -> tuple[Rows, int]:
        part = cast("Part", batch)
        return part.packets, part.front_ns

    def _numbered(self) -> list[tuple[int, str]]:
        names = list(self._names)
        seen = self._client.gather([self._client.submit(_look, name, pure=False) for name in names])
        good = [(look, name) for look, name in zip(seen, names, strict=True) if not isinstance(look, Mistake)]
        bad = [(look, name) for look, name in zip(seen, names, strict=True) if isinstance(look, Mistake)]
        good.sort(key=lambda pair: (*pair[0][:2], pair[1]))
        self._mistakes = {len(good) + at: mistake for at, (mistake, _) in enumerate(bad)}
        self._order = [name for _, name in good]
        self._sizes = [look[2] for look, _ in good]
        self._waiting = deque(range(len(self._order)))
        return [(look[0], name) for look, name in good] + [(0, name) for _, name in bad]

    def _report(self) -> None:
        if self._progress is not None:
            done = (cast("_Remote", reader).facts.position for reader in self._readers.values())
            self._progress(sum(done), sum(self._sizes))

    def _submit(self, needed: int) -> None:
        """Keep the workers busy with what is needed next, and with no more."""
        room = _AHEAD * max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
        while self._waiting and (self._waiting[0] <= needed or len(self._pending) < room):
            at = self._waiting.popleft()
            self._pending[at] = self._client.submit(decode, self._order[at], at, self.options, pure=False, retries=3)


def _look(name: str) -> tuple[int, int, int] | Mistake:
    """Return what orders a file, as `inputs` has it, and its size."""
    try:
        return (*first_and_last(name), Path(name).stat().st_size)
    except OperatorError as error:
        return error.mistakes[0]


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
