"""A backend for Label Studio: predictions for tasks, from a Kosmos-2 service.

`server.py` answers Label Studio, `backend.py` computes predictions, `config.py` reads the labelling
configuration, and `fetching.py` fetches pictures from the addresses that `addresses.py` allows.
"""
