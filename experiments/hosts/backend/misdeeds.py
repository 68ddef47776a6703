"""What an emulated backend does wrong when it is told to."""

from dataclasses import dataclass


@dataclass(slots=True)
class Misdeeds:
    """Nothing, until told. Each method takes the rest of a command; ValueError refuses it."""

    hangs: bool = False
    """Requests are taken and never answered."""
    reset_after_bytes: int = 0
    """Each connection is reset after so much of an answer; 0: none is."""
    exaggeration: float = 1.0
    """Load reports and probes say this times the truth."""
    report_delay_s: float = 0.0
    """Load reports are of so long ago."""

    def hang(self, words: str) -> None:
        """`on` or `off`."""
        if words not in ("on", "off"):
            raise ValueError(f"expected on or off, not {words!r}")
        self.hangs = words == "on"

    def reset_after(self, words: str) -> None:
        """Bytes."""
        self.reset_after_bytes = int(_positive(words))

    def lie(self, words: str) -> None:
        """A factor."""
        self.exaggeration = _positive(words)

    def report_delay(self, words: str) -> None:
        """Seconds."""
        self.report_delay_s = _positive(words)


def _positive(words: str) -> float:
    value = float(words)
    if not 0 <= value < float("inf"):
        raise ValueError(f"expected 0 or more, not {words!r}")
    return value
