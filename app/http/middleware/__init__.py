"""What runs around every request, one module for each concern."""
