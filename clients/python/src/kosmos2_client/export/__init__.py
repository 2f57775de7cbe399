"""Turns run files into datasets of other tools, picture by picture, in the order of the paths."""
