"""HAProxy and nginx in front of one service, with the files that are shipped."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from harness.deployment import running_balancer
from harness.nginx import running_nginx
from harness.waiting import eventually

HAPROXY, NGINX, NGINX_WITH_OFFERS = "HAProxy", "nginx", "nginx that passes offers"
PROXIES = (HAPROXY, NGINX, NGINX_WITH_OFFERS)
# As ingress-nginx configures each location: an offer of another protocol reaches the service.
_PASS_OFFERS = {
    'proxy_set_header Connection "";': "proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $http_connection;"
}


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
    ):
        assert eventually(lambda: balancer.num_ready == len(replicas))
        yield dict(zip(PROXIES, (balancer.url, nginx, nginx_with_offers), strict=True))
