"""What clients send: laws, random streams, the kinds of workload, and what they plan. Pure."""
