"""Peers: small servers that people would build with public libraries, with correct answers."""
