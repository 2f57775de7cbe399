"""Load generator for a running service: workloads, closed and open loops, and their results."""
