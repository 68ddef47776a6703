"""Which port is whose in a virtual network."""

PORT = 8080
"""The balancer's, in its own host."""
REPORT_PORT = 9100
"""Where the balancer takes load reports."""

BACKEND_PORT = 9000
"""The service of every backend; those below are beside it."""
HEALTH_PORT = 9001
AGENT_PORT = 9002
PROBE_PORT = 9003
