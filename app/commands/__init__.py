"""The commands of `kosmos2`, one module per command."""
