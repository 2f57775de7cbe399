"""The socket that the HTTP processes share."""

import errno
import socket

from app.errors import AddressInUse, StartupError


def listen(
    host: str, port: int, advice: str = "make run PORT={0}, or kosmos2 serve --port {0}"
) -> socket.socket:
    """Return a listening socket, which the HTTP processes share.

    Args:
        advice: how to choose another port than one in use; `{0}` is the next port.

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
                f"port {port} is in use; choose another: {advice.format(port + 1)}"
            ) from None
        # Python appends the address, in parentheses.
        reason = str(error.strerror).partition(" (")[0]
        raise StartupError(f"cannot listen on {host}, port {port}: {reason}") from None
