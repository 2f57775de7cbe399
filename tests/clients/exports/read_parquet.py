"""Exports a run as Parquet and prints its rows, and whether the types are those of a table.

python read_parquet.py RUN OUT
"""

import json
import sys

import pyarrow.parquet as pq

from kosmos2_client.cli import main

run, out = sys.argv[1:]
assert main(["export", run, "--format", "parquet", "--out", out]) == 0
table = pq.read_table(out)
types = {field.name: str(field.type) for field in table.schema}
json.dump({"types": types, "rows": table.to_pylist()}, sys.stdout)
