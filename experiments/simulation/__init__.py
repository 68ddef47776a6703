"""The second arm: the same scenario, balancing objects and tables, in virtual time."""
