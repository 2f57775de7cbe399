"""Processes in which users' pictures are opened, and which may die of them."""
