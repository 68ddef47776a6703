"""A running process to look at from outside, by its status socket alone: frames, terminal, page."""
