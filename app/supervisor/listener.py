"""The socket that the HTTP processes share."""

import errno
import socket

from app.errors import AddressInUse, StartupError


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, which the HTTP processes share.

    Raises:
        AddressInUse: another program listens at the address.
        StartupError: this machine does not have the address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, port),
            family=family,
            backlog=socket.SOMAXCONN,
            # `::` then accepts IPv4 too, as in most servers.
            dualstack_ipv6=family == socket.AF_INET6 and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(
                f"port {port} is in use; choose another: make run PORT={port + 1}, "
                f"or kosmos2 serve --port {port + 1}"
            ) from None
        raise StartupError(f"cannot listen on {host}, port {port}: {error.strerror}") from None
