"""Runs a batch with two actors of a local Ray cluster: python run.py FOLDER OUT CLASSES."""

import os
import sys
from pathlib import Path

import ray

from app.commands.ray_batch import run_on_ray
from app.commands.ray_plan import Cluster
from app.settings import EMBEDDED_CHECKPOINT, Settings
from kosmos2_client.batch.options import BatchOptions

if __name__ == "__main__":
    folder, out, classes = sys.argv[1:]
    # Also on a machine with fewer: one per actor, and one for reading.
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    # Nodes of a cluster work in other folders than the command, whose paths may be relative.
    os.chdir(Path(folder).parent)
    run = BatchOptions([Path(folder).name], Path(out), classes=classes).to_run()
    settings = Settings(log_level="warning", model=os.path.relpath(EMBEDDED_CHECKPOINT))
    sys.exit(run_on_ray(run, settings, Cluster(cores_per_engine=1, max_engines=2)))
