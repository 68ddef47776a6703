"""A run to look at: its folder becomes frames, and frames a page or a terminal's picture."""
