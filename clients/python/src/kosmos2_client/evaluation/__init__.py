"""Compares the answers of a run with true boxes, and finds thresholds and calibrations."""
