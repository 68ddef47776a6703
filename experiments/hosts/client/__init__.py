"""The load generator, inside a client's host."""
