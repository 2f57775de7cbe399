"""The model: weights and their loading, the text decoder, the vision tower and the resampler.

All of it is written here; `transformers` provides only the classes of the configuration.
"""
