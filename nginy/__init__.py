"""nginy: a layer-4 load balancer."""

from importlib.metadata import version

__version__ = version("nginy")
