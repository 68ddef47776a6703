"""Benchmarks of nginy beside a peer in the same run."""
