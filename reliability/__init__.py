"""Tools that inject faults and load into a running service and account for every request."""
