"""Defaults and upper limits of the sampling fields; the lower limit is 0 unless noted."""

DEFAULT_MAX_NEW_TOKENS = 128
MAX_NEW_TOKENS = 1024  # at least 1
MAX_TEMPERATURE = 2
MAX_TOP_K = 2**31 - 1
MAX_TOP_P = 1  # above 0
MAX_SEED = 2**63 - 1
MAX_CHOSEN_SEED = 2**53 - 1  # of the service's own choice: JavaScript rounds larger integers
