"""Defaults and ranges of the fields that choose tokens; the lowest value is 0 unless it says 1."""

DEFAULT_MAX_NEW_TOKENS = 128
MAX_NEW_TOKENS = 1024  # from 1
MAX_NGRAM_SIZE = 8
MAX_TEMPERATURE = 2
MAX_TOP_K = 2**31 - 1
MAX_TOP_P = 1  # from above 0
MAX_SEED = 2**63 - 1
