"""The model itself: loading, the text decoder written here, the vision tower of transformers."""
