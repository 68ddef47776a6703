"""Systems under test: how each is configured, started and stopped inside the balancer's host."""
