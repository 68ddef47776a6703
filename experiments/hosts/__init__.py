"""Programs that run inside the virtual hosts."""
