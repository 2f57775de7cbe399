"""Detection of classes: what turns the boxes of many phrases and tiles into one list of objects."""
