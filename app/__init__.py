"""Serves Kosmos-2 over HTTP: returns text and boxes for a picture and a task."""
