"""The embedded checkpoint: a small Kosmos-2 that knows drawn shapes, and a few scenes."""
