"""The testbed's commands, each of which is one function."""
