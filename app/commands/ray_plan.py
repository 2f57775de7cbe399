"""Where a batch runs on Ray, and with how many engines; does not import Ray."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.settings import Settings
from kosmos2_client.batch.options import InvalidOptions

LOCAL = "local"
"""The address that starts a cluster on this machine."""

_ADDRESS = re.compile(r"local|auto|ray://\S+|\S+:\d+")


@dataclass(frozen=True)
class Cluster:
    """Where to run, and with how many engines.

    Attributes:
        address: of a Ray cluster; `local` starts one on this machine.
        cores_per_engine: processor cores of an engine without a GPU.
        max_engines: largest number of engines; `None` uses the whole cluster.

    Raises:
        InvalidOptions: the address is one of Ray's client, through which Ray Data does not run.
    """

    address: str = LOCAL
    cores_per_engine: int = 4
    max_engines: int | None = None

    def __post_init__(self) -> None:
        """Check the address."""
        if self.address.startswith("ray://"):
            raise InvalidOptions(
                f"{self.address}: Ray Data does not run through Ray's client; run this command on "
                "a node of the cluster with --ray auto"
            )


def plan_engines(
    available: Mapping[str, float], settings: Settings, cluster: Cluster
) -> tuple[dict[str, float], int]:
    """Return what an engine reserves, and the largest number of engines.

    >>> plan_engines({"CPU": 17, "GPU": 2}, Settings(device="cuda"), Cluster())
    ({'num_gpus': 1, 'num_cpus': 1}, 2)
    >>> plan_engines({"CPU": 17}, Settings(device="cpu"), Cluster(cores_per_engine=4))
    ({'num_cpus': 4}, 4)
    >>> plan_engines({"CPU": 2}, Settings(device="cpu"), Cluster(cores_per_engine=4))
    ({'num_cpus': 1}, 1)
    """
    num_gpus = int(available.get("GPU", 0))
    resources: dict[str, float]
    if num_gpus and settings.device != "cpu":
        resources, num_engines = {"num_gpus": 1, "num_cpus": 1}, num_gpus
    else:
        # One core stays free for reading, which would otherwise never start.
        num_cores = max(1, int(available["CPU"]) - 1)
        cores = min(cluster.cores_per_engine, num_cores)
        resources, num_engines = {"num_cpus": cores}, num_cores // cores
    return resources, min(num_engines, cluster.max_engines or num_engines)


def with_ray_address(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with an address after `--ray`: `local`, unless one follows.

    typer does not support an option whose value may be omitted.

    >>> with_ray_address(["batch", "--ray", "photographs/"])
    ['batch', '--ray=local', 'photographs/']
    >>> with_ray_address(["batch", "photographs/", "--ray", "head:6379"])
    ['batch', 'photographs/', '--ray=head:6379']
    """
    spelled: list[str] = []
    for argument in arguments:
        if spelled and spelled[-1] == "--ray":
            if _ADDRESS.fullmatch(argument):
                spelled[-1] = f"--ray={argument}"
                continue
            spelled[-1] = f"--ray={LOCAL}"
        spelled.append(argument)
    if spelled and spelled[-1] == "--ray":
        spelled[-1] = f"--ray={LOCAL}"
    return spelled
