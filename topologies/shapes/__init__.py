"""Hosts, switches and links as pure data."""
