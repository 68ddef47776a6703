"""Pure numbers from result frames."""
