"""What a run is made of: systems, processes, captures, counters."""
