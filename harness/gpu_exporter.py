"""Stands in for NVIDIA's exporter of what GPUs do, where there is no GPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from harness.serving import serving

# Those of the exporter's default counters that somebody asks for, as an idle GPU has them.
IDLE = {
    "DCGM_FI_DEV_GPU_UTIL": 0,
    "DCGM_FI_DEV_FB_USED": 4845,
    "DCGM_FI_DEV_FB_FREE": 35690,
    "DCGM_FI_DEV_GPU_TEMP": 31,
    "DCGM_FI_DEV_XID_ERRORS": 0,
}


@contextmanager
def running_gpu_exporter() -> Iterator[str]:
    """One with a single GPU, for as long as the block lasts; its address, host and port."""
    text = "".join(f'{name}{{gpu="0",Hostname="a"}} {value}\n' for name, value in IDLE.items())

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Say nothing."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address
