"""The runs of a sweep on many machines, by Dask distributed.

A worker makes a run in a folder of its own and sends it back without its captures, so nobody needs
a shared disk; what is here is whole or not there. A run of a worker that dies is made by another.

A Dask scheduler lets whoever reaches it execute anything as the workers' user: it belongs on
loopback or in a network of one's own.
"""

import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from distributed import Client, Future, KilledWorker, LocalCluster, as_completed, get_worker

from experiments.lab.metadata import ROOT, versions
from experiments.plan.sweep import Cell
from experiments.run.engine import Job, Run
from nginy.errors import NginyError

LOCAL = "local"
"""The address of a cluster of this machine's processors, made for the moment."""
TESTBED = "testbed"
"""What a worker has one of that can make runs in a virtual network: they need the machine alone."""
CONNECT_S = 8.0
RETRIES = 3
_PACKAGES = ("numpy", "pandas", "pyarrow", "scipy", "orjson", "xxhash")
"""On whose versions a run's bytes may depend."""


class ClusterError(NginyError):
    """There is no such cluster, or it is not one to make runs of this checkout."""


class Made(NamedTuple):
    """A run on its way back."""

    valid: bool
    archive: bytes
    """Its folder, as tar."""


class Cluster:
    """An engine (see `engine.Engine`) for as long as the block lasts."""

    def __init__(
        self, address: str, workers: int | None = None, resources: Mapping[str, float] | None = None
    ) -> None:
        """`address`: of a scheduler (`tcp://host:8786`), or `LOCAL` with so many `workers` (none:
        one for each processor). `resources`: what a run needs of its worker (`TESTBED`)."""
        self._address, self._workers = address, workers
        self._resources = dict(resources or {})

    def __enter__(self) -> Self:
        """Connect. Raises ClusterError: nobody answers, nobody works there, or a worker runs
        other code."""
        self._own = self._started() if self._address == LOCAL else None
        try:
            address = self._own.scheduler_address if self._own else self._address
            self._client = self._connected(address)
            self._refuse_others()
        except BaseException:
            self._close_own()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect; nothing of ours is left with the scheduler."""
        self._client.close()
        self._close_own()

    def __call__(self, jobs: Iterable[Job], run: Run) -> Iterator[tuple[Job, bool]]:
        """As they end. An error in one of them, or Ctrl-C, gives up the others."""
        at_work: dict[Future[Made], Job] = {}
        digest = code_digest()
        try:
            for job in jobs:
                future = self._client.submit(
                    _make, run, job.number, job.cell, digest,
                    pure=False, retries=RETRIES, resources=self._resources or None,
                )  # fmt: skip
                at_work[future] = job
            for future in as_completed(list(at_work), loop=self._client.loop):
                made = self._result(future)
                _unpack(made.archive, at_work[future].path)
                yield at_work[future], made.valid
                future.release()
        finally:
            self._client.cancel(list(at_work))

    def _result(self, future: Future[Made]) -> Made:
        try:
            made: Made = future.result()
        except KilledWorker as error:
            raise ClusterError(f"{self._address}: {error}") from None
        return made

    def _started(self) -> LocalCluster:
        return LocalCluster(
            n_workers=self._workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs="ERROR",
        )

    def _connected(self, address: str) -> Client:
        try:
            return Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"CLUSTER={address}: no scheduler answers ({error}); make scheduler starts "
                f"one, and CLUSTER={LOCAL} needs none"
            ) from None

    def _refuse_others(self) -> None:
        ours, theirs = code_digest(), self._client.run(_digest_there)
        if not theirs:
            self._client.close()
            raise ClusterError(
                f"CLUSTER={self._address}: no worker has joined; make worker "
                f"SCHEDULER={self._address} is one"
            )
        others = sorted(worker for worker, digest in theirs.items() if digest != ours)
        if others:
            self._client.close()
            raise ClusterError(_of_another_version(others))

    def _close_own(self) -> None:
        if self._own is not None:
            self._own.close()


def code_digest() -> str:
    """Of all code and the libraries that a run's bytes depend on."""
    digest = sha256()
    for package in ("nginy", "topologies", "experiments"):
        for path in sorted((ROOT / package).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode())
            digest.update(path.read_bytes())
    known = versions()
    digest.update(known["python"].encode())
    for name in _PACKAGES:
        digest.update(f"{name} {known['packages'].get(name)}\0".encode())
    return digest.hexdigest()


def _digest_there() -> str:
    return code_digest()


def _make(run: Run, number: int, cell: Cell, digest: str) -> Made:
    """At the worker. One that came after `Cluster` had looked is refused here."""
    if code_digest() != digest:
        raise ClusterError(_of_another_version([get_worker().address]))
    # In the worker's own place, which the next worker clears of what a killed one has left.
    with tempfile.TemporaryDirectory(dir=get_worker().local_directory) as directory:
        path = Path(directory) / "run"
        valid = run(number, cell, path)
        return Made(valid, _packed(path))


def _of_another_version(workers: list[str]) -> str:
    return (
        f"the worker at {', '.join(workers)} has other code, another Python or other libraries "
        "than this checkout: give it the same commit (and make setup), then start it again"
    )


def _packed(path: Path) -> bytes:
    """Without captures, whose size would be most of it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(path, arcname=".", filter=_no_capture)
    return buffer.getvalue()


def _no_capture(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(".pcap") else member


def _unpack(archive: bytes, path: Path) -> None:
    """Whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".arriving-") as directory:
        with tarfile.open(fileobj=io.BytesIO(archive)) as members:
            members.extractall(Path(directory) / "run", filter="data")
        (Path(directory) / "run").rename(path)
