"""`kosmos2 bench`: the options of the command; `app/bench` does the work."""

from pathlib import Path
from typing import Annotated

import typer

_DEFAULT_S = 30.0

Url = Annotated[str, typer.Option(help="URL of the service, such as http://127.0.0.1:8000.")]
Pictures = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Picture files. Default: the embedded scenes.", exists=True, dir_okay=False
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(min=1, help="Closed loop: clients that send the next request after each answer."),
]
Rate = Annotated[
    float | None,
    typer.Option(
        min=0.001, help="Open loop: requests per second, sent without waiting for answers."
    ),
]
Requests = Annotated[int | None, typer.Option(min=1, help="Total number of requests.")]
Seconds = Annotated[
    float | None,
    typer.Option(
        min=0.1, help="Seconds to send requests for. Default: 30, unless --requests is given."
    ),
]
Stream = Annotated[bool, typer.Option("--stream", help="Request answers as event streams.")]
Seed = Annotated[int, typer.Option(help="Random seed of requests and arrivals.")]
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first word is the API key. Default: the KOSMOS2_API_KEY variable.",
    ),
]


def bench(
    url: Url,
    pictures: Pictures = None,
    concurrency: Concurrency = 8,
    rate: Rate = None,
    requests: Requests = None,
    seconds: Seconds = None,
    stream: Stream = False,
    seed: Seed = 0,
    api_key_file: ApiKeyFile = None,
) -> None:
    """Send requests of all tasks to a running service; print its throughput and latencies.

    kosmos2 bench --url http://127.0.0.1:8000 --concurrency 32

    kosmos2 bench --url http://127.0.0.1:8000 --rate 20 --stream photographs/*.jpg
    """
    from app.bench.command import Load
    from app.bench.command import bench as run
    from app.bench.loops import Bounds
    from kosmos2_client.batch.options import read_api_key
    from kosmos2_client.http_messages import Endpoint

    is_unbounded = requests is None and seconds is None
    bounds = Bounds(requests, _DEFAULT_S if is_unbounded else seconds)
    service = Endpoint(url, read_api_key(api_key_file))
    load = Load(service.url, concurrency, rate, bounds, stream, pictures or [], seed)
    raise typer.Exit(run(load, service.api_key))
