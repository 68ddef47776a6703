"""Who may ask the page's server: names, origins, the token. Pure.

On loopback anybody on this machine may look; another address gets a random token, which the printed
URL carries and a cookie keeps. A foreign page in the same browser must neither read nor command:
names that are resolved (DNS rebinding) are refused, and commands need the page's own origin, a JSON
body and a header that no form can send.
"""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

COMMAND_HEADER = "x-nginy"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Guard:
    """What is allowed at the address that is listened on; `token`: None where none is needed."""

    address: str
    token: str | None = None

    @classmethod
    def at(cls, address: str) -> "Guard":
        """With a random token, unless it is this machine's loopback."""
        return cls(address, None if is_loopback(address) else secrets.token_urlsafe(24))

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this server by an address, or as localhost."""
        name = _name(host)
        if name == "localhost":
            return True
        try:
            asked = ipaddress.ip_address(name)
        except ValueError:
            return False  # a name that somebody's DNS resolves to here
        return asked.is_loopback or self.token is not None

    def knows_token(self, given: str | None) -> bool:
        """Whether it is the token, or none is needed."""
        return self.token is None or secrets.compare_digest(
            (given or "").encode(), self.token.encode()
        )

    def is_own_command(self, headers: Mapping[str, str]) -> bool:
        """Whether a POST comes from this server's own page."""
        own = headers.get("origin") == f"http://{headers.get('host')}"
        kind = headers.get("content-type", "").partition(";")[0].strip()
        return own and kind == "application/json" and COMMAND_HEADER in headers


def is_loopback(address: str) -> bool:
    """Whether nobody but this machine can reach it."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    """Of `127.0.0.1:8000`, `[::1]:8000`; empty of nonsense."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
