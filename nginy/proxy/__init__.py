"""Carrying connections."""
