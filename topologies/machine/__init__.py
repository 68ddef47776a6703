"""What of the machine is touched: namespaces, kernel settings, and a record of both."""
