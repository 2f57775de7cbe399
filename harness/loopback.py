"""The functions of httpx for services on the loopback, without loading certificates.

Loading them takes 36 ms of processor time per call, more than most of the services' answers.
"""

from functools import partial

import httpx

get = partial(httpx.get, verify=False)
post = partial(httpx.post, verify=False)
stream = partial(httpx.stream, verify=False)
