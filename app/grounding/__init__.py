"""Boxes and markup: what Kosmos-2 says about places in a picture, as pure text and numbers."""
