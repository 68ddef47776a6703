"""What watches backends from outside their connections: checks, agents, names, reports, probes."""
