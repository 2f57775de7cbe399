"""Measurements of this service next to other servers; each case writes one line of JSON."""
