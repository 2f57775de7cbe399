"""`kosmos2 verify`: compares a checkpoint with its recorded answers, and with `transformers`."""
