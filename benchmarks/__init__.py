"""Side-by-side measurements; each ends in one JSON line."""
