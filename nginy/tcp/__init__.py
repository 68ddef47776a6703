"""TCP: connections."""
