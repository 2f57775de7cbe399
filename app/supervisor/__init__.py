"""Starts, watches, restarts and drains the processes of a service."""
