"""Captures to flows."""
