"""nginx in front of replicas, with the configuration that is shipped."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.deployment import DEPLOY, REPLICAS, free_address, is_answered, replace_each, running
from harness.waiting import eventually

TEMPORARY_FOLDERS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def running_nginx(
    folder: Path, replicas: Sequence[str], changes: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run nginx in front of two replicas and yield its URL.

    Args:
        replicas: host and port of each, in place of those in the shipped file.
        changes: to the shipped file, in addition to those of addresses and folders.
    """
    address = free_address()
    own = "".join(f"{name}_temp_path {folder / name};\n" for name in TEMPORARY_FOLDERS)
    config = dict(zip(REPLICAS, replicas, strict=True)) | {
        "listen 8080": f"listen {address}",
        "http {\n": f"http {{\n{own}",
        "/dev/stdout": str(folder / "access.log"),
    }
    shipped = (DEPLOY / "nginx" / "nginx.conf").read_text()
    file = folder / "nginx.conf"
    file.write_text(replace_each(shipped, config | dict(changes or {})))
    # As `root`, whose folder it is; other users run it as themselves, and nginx ignores the line.
    options = f"daemon off; user root; pid {folder / 'nginx.pid'}; error_log stderr;"
    command = ("nginx", "-e", "stderr", "-p", str(folder), "-c", str(file), "-g", options)
    with running(folder / "nginx.log", *command):
        assert eventually(lambda: is_answered(f"http://{address}/readyz"))
        yield f"http://{address}"
