"""A checkpoint: its files, its calibration, and its download from the hub."""
