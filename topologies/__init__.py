"""Virtual networks: pure shapes, and their realisation in Mininet."""
