"""Metrics, logs, traces, and the timeline of a request."""
