"""What `kosmos2 …` runs: one module for each command."""
