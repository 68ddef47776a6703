"""What shall be: scenario, faults, workload, sweep. Pure."""
