"""Shared parts of the tests: checkpoints, answers of the reference, pictures, running services."""
