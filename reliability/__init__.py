"""Tools that make a running service suffer and account for what comes of it."""
