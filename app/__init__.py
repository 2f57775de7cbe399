"""Serves Kosmos-2 over HTTP: a picture and a task in, grounded text with boxes out."""
