"""Runs one request over many pictures, with resume: the inside of `kosmos2-client batch`."""
