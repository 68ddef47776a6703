"""What clients and backends say to each other."""
