"""The emulated backend, inside its host."""
