"""Sockets without meaning: event loop, timers, byte movers, the log's writer."""
