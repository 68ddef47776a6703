"""Listeners, signals and drain."""
