"""Runs a batch on a Ray cluster: actors answer pictures, this process writes the run file.

Only this process writes, and only whole outcomes, so an actor or a node that is killed costs
nothing but the time to compute its pictures again.
"""

import os
from collections.abc import Iterator
from itertools import islice

import pyarrow
import ray
import ray.data
import ray.exceptions
from ray.data import ActorPoolStrategy

from app.commands.ray_plan import LOCAL, Cluster, plan_engines
from app.commands.ray_worker import LINE, NAME, REFUSAL, EngineWorker, read_pictures
from app.settings import Settings
from kosmos2_client.batch.names import NameSet
from kosmos2_client.batch.run import BatchRun
from kosmos2_client.batch.runner import RequestRefused, RunStopped
from kosmos2_client.run_file import Line

_READING_CORES = 0.1  # it mostly waits for the disk or the network
PICTURES_PER_BATCH = 64
"""A batch is written when all of its pictures are answered."""


def run_on_ray(run: BatchRun, settings: Settings, cluster: Cluster) -> int:
    """Run the pictures of a batch on a cluster; return the exit code as `BatchRun.run` does.

    Every node must have this package and must be able to read the pictures. With CUDA devices in
    the cluster there is one engine per device, otherwise one per set of cores.

    Raises:
        Kosmos2ClientError: a source or the run file is invalid.
        OSError: a source cannot be read, or an outcome cannot be written.
        RunStopped: the cluster cannot run the engines, or they refuse the request.
    """
    address = None if cluster.address == LOCAL else cluster.address
    ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    written = NameSet()
    with run.continued() as continuation:
        try:
            for line in _lines(continuation.pending, run, settings, cluster):
                # Ray repeats the work of a lost node, but must not repeat its outcomes.
                if written.add(line.path):
                    continuation.write(line)
        except ray.exceptions.RayError as error:
            message = f"Ray stopped the run: {error}; the same command resumes it"
            raise RunStopped(message) from error
    return continuation.exit_code


def _lines(
    names: Iterator[str], run: BatchRun, settings: Settings, cluster: Cluster
) -> Iterator[Line]:
    """Yield the lines of the pictures, in the order in which their batches are complete.

    Raises:
        RequestRefused: an engine refuses the options of the run.
    """
    tables = [pyarrow.table({NAME: encoded}) for encoded in _in_batches(names)]
    if not tables:
        return
    settings = settings.model_copy(update={"model": _for_all_nodes(settings.model)})
    resources, num_engines = plan_engines(ray.cluster_resources(), settings, cluster)
    lines = (
        ray.data.from_arrow(tables)
        .map_batches(
            read_pictures,
            fn_args=(_for_all_nodes(str(run.sources.root)),),
            batch_size=PICTURES_PER_BATCH,
            num_cpus=_READING_CORES,
        )
        .map_batches(
            EngineWorker,
            fn_constructor_args=(settings, run.request),
            batch_size=PICTURES_PER_BATCH,
            compute=ActorPoolStrategy(min_size=1, max_size=num_engines, initial_size=num_engines),
            **resources,
        )
    )
    for batch in lines.iter_batches(batch_size=None, prefetch_batches=0):
        for line, refusal in zip(batch[LINE], batch[REFUSAL], strict=True):
            if refusal:
                raise RequestRefused(str(refusal))
            yield Line.from_json(line)


def _for_all_nodes(path: str) -> str:
    """Return the absolute path of a folder, because nodes work in folders of their own.

    A URI and a hub id are returned as they are.
    """
    return os.path.abspath(path) if os.path.isdir(path) else path


def _in_batches(names: Iterator[str]) -> Iterator[list[bytes]]:
    while batch := list(islice(names, PICTURES_PER_BATCH)):
        # Arrow's texts must be Unicode, names of files need not.
        yield [name.encode("utf-8", "surrogateescape") for name in batch]
