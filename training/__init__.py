"""Draws the scenes, trains the embedded checkpoint on them and measures what it learned."""
