"""A scenario becomes a run folder."""
