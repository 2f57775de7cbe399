"""Draws boxes and labels on a picture."""
