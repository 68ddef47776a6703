"""Whether a network is what was asked."""
