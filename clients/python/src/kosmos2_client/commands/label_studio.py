"""`kosmos2-client label-studio`: serves predictions to Label Studio."""

import argparse
import ipaddress
import signal
import sys
from pathlib import Path
from typing import Any

from kosmos2_client.batch.options import read_api_key
from kosmos2_client.commands.export import share
from kosmos2_client.conversions.label_studio import MODEL_VERSION
from kosmos2_client.errors import InvalidInput
from kosmos2_client.http_messages import MAX_PORT, fits_header
from kosmos2_client.label_studio.addresses import Addresses
from kosmos2_client.label_studio.backend import Backend, BackendOptions
from kosmos2_client.label_studio.fetching import FetchLimits
from kosmos2_client.label_studio.server import BackendServer, Credentials
from kosmos2_client.texts import read_text

DEFAULT_PORT = 9090


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Return the parser of the options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "label-studio",
        help="serve predictions to Label Studio",
        description="Serve predictions to Label Studio, as a model of a project. Pictures are "
        "fetched from Label Studio and from the hosts of --allow-host, from no other address.",
    )
    add = parser.add_argument
    add("--url", required=True, help="base URL of the Kosmos-2 service")
    add("--label-studio-url", required=True, metavar="URL", help="base URL of Label Studio")
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="file with an access token of Label Studio, to fetch uploaded pictures",
    )
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="also fetch pictures from this host, without the token; may be repeated",
    )
    add("--bind", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", type=_port, default=DEFAULT_PORT, help="(default: %(default)s)")
    add(
        "--basic-auth-file",
        type=Path,
        metavar="FILE",
        help="file with user:password that Label Studio must send; required beyond the loopback",
    )
    add("--api-key-file", type=Path, metavar="FILE", help="file with the key of the service")
    add("--confidence", type=share, metavar="0…1", help="least confidence of a box")
    add("--model-version", default=MODEL_VERSION, help="(default: %(default)s)")
    limits = FetchLimits()
    add("--max-picture-bytes", type=int, default=limits.max_bytes, help="(default: %(default)s)")
    add(
        "--picture-timeout",
        type=float,
        default=limits.timeout_s,
        metavar="SECONDS",
        help="time in which a picture must be fetched (default: %(default)s)",
    )
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    credentials = _credentials(arguments.basic_auth_file)
    if credentials is None and not _is_loopback(arguments.bind):
        raise InvalidInput(f"--bind {arguments.bind} needs --basic-auth-file")
    options = BackendOptions(
        service_url=arguments.url,
        addresses=Addresses(arguments.label_studio_url, arguments.allow_host),
        token=_token(arguments.token_file),
        api_key=read_api_key(arguments.api_key_file),
        confidence=arguments.confidence,
        model_version=arguments.model_version,
        limits=FetchLimits(arguments.max_picture_bytes, arguments.picture_timeout),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with BackendServer((arguments.bind, arguments.port), Backend(options), credentials) as server:
        host, port = server.server_address[:2]
        print(f"listening on http://{host!s}:{port}", file=sys.stderr)
        server.serve_forever()
    return 0


def read_word(path: Path) -> str:
    """Return the first word of a file.

    Raises:
        OSError: it cannot be read.
        InvalidInput: it is empty, or not UTF-8.
    """
    words = read_text(path).split()
    if not words:
        raise InvalidInput(f"{path}: is empty")
    return words[0]


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    token = read_word(path)
    if not fits_header(token):
        raise InvalidInput(f"{path}: a token may only have printable ASCII characters")
    return token


def _credentials(path: Path | None) -> Credentials | None:
    if path is None:
        return None
    user, colon, password = read_word(path).partition(":")
    if not (user and colon and password):
        raise InvalidInput(f"{path}: must be user:password")
    return Credentials(user, password)


def _port(text: str) -> int:
    """Return a port; 0 chooses a free one."""
    port = int(text)
    if not 0 <= port <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be from 0 to {MAX_PORT}")
    return port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
