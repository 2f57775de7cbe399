"""Stands in for NVIDIA's exporter of GPU metrics on machines without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.standard_servers import running_server

# The exporter's counters that the project queries, with the values of an idle GPU.
IDLE = {
    "DCGM_FI_DEV_GPU_UTIL": 0,
    "DCGM_FI_DEV_FB_USED": 4845,
    "DCGM_FI_DEV_FB_FREE": 35690,
    "DCGM_FI_DEV_GPU_TEMP": 31,
    "DCGM_FI_DEV_XID_ERRORS": 0,
}


@contextmanager
def running_gpu_exporter() -> Iterator[str]:
    """Run an exporter with one GPU for the duration of the block; yield its host and port."""
    text = "".join(f'{name}{{gpu="0",Hostname="a"}} {value}\n' for name, value in IDLE.items())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Suppress the log."""

    with running_server(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address
