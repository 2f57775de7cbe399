"""The wire: the only place that knows FastAPI."""
