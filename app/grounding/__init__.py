"""Boxes and markup: how Kosmos-2 writes positions in a picture, as pure text and numbers."""
