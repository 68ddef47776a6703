"""What happens to a client by its rule: no socket, no clock."""
