"""Balancing algorithms, one per file."""
