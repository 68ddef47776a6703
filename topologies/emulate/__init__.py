"""How a link gets its delay, jitter, loss and rate."""
