"""Scenario to figure: the testbed's pipeline."""
