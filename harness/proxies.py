"""HAProxy and nginx in front of one service, with the files that are shipped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from harness.deployment import running_balancer
from harness.nginx import running_nginx
from harness.waiting import eventually

HAPROXY, NGINX, NGINX_WITH_OFFERS, NGINX_OLD = (
    "HAProxy",
    "nginx",
    "nginx that passes offers",
    "nginx over HTTP/1.0",
)
PROXIES = (HAPROXY, NGINX, NGINX_WITH_OFFERS, NGINX_OLD)
# As ingress-nginx configures each location: an offer of another protocol reaches the service.
_PASS_OFFERS = {
    'proxy_set_header Connection "";': "proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $http_connection;"
}
# Without these lines of the shipped file, nginx speaks HTTP/1.0 with the service, and collects an
# answer unless its headers forbid that.
_WITHOUT_KEEP_ALIVE = {"proxy_http_version 1.1;": "", 'proxy_set_header Connection "";': ""}


@contextmanager
def running_proxies(url: str, folder: Path) -> Iterator[Mapping[str, str]]:
    """Run all `PROXIES` in front of the service at a URL, and yield the URL of each."""
    address = urlsplit(url).netloc
    folders = [folder / str(number) for number in range(len(PROXIES))]
    for each in folders:
        each.mkdir()
    replicas = (address, address)
    with (
        running_balancer(folders[0], replicas) as balancer,
        running_nginx(folders[1], replicas) as nginx,
        running_nginx(folders[2], replicas, _PASS_OFFERS) as nginx_with_offers,
        running_nginx(folders[3], replicas, _WITHOUT_KEEP_ALIVE) as nginx_old,
    ):
        assert eventually(lambda: balancer.num_ready == len(replicas))
        urls = (balancer.url, nginx, nginx_with_offers, nginx_old)
        yield dict(zip(PROXIES, urls, strict=True))
