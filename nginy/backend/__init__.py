"""Backends: identity, counters, leases."""
