"""Datagrams kept until it is clear that their backend takes them. Pure."""

KEPT_DATAGRAMS = 16
KEPT_BYTES = 65_536


class Kept:
    """The first datagrams of a session, or its last one; what is beyond the bounds is not kept."""

    __slots__ = ("_bytes", "_datagrams")

    def __init__(self) -> None:
        """Nothing kept."""
        self._datagrams: list[bytes] = []
        self._bytes = 0

    def __len__(self) -> int:
        """Datagrams kept."""
        return len(self._datagrams)

    def add(self, datagram: memoryview | bytes) -> None:
        """Keep it after the others, if there is room: the first one always has."""
        kept = self._datagrams
        size = len(datagram)
        if not kept or (len(kept) < KEPT_DATAGRAMS and self._bytes + size <= KEPT_BYTES):
            kept.append(bytes(datagram))
            self._bytes += size

    def replace(self, datagram: memoryview | bytes) -> None:
        """Keep it instead of the others."""
        self._datagrams = [bytes(datagram)]
        self._bytes = len(datagram)

    def clear(self) -> None:
        """Keep nothing."""
        if self._datagrams:
            self._datagrams = []
            self._bytes = 0

    def take(self) -> list[bytes]:
        """What was kept, in order; nothing is, from now on."""
        taken = self._datagrams
        self.clear()
        return taken
