"""What can go wrong with a virtual network, by cause."""

from nginy.errors import NginyError


class NetworkError(NginyError):
    """The virtual network could not be built, or a command inside it failed."""


class MachineLacks(NetworkError):
    """This machine cannot do what was asked; the message says what is missing and the remedy."""


class LinkDead(NetworkError):
    """A link stopped doing what it was asked; the message names the link."""
