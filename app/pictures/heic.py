"""HEIC, Apple's format, if the extra `heic` is installed. It is an extra for safety reasons.

While decoding, pillow-heif applies the rotation in the container and removes the orientation from
EXIF, so that nothing is left to rotate. Its libraries are only used in versions without known
vulnerabilities; the reasons are in `docs/adr/0032-heic-is-an-extra.md`.
"""

import re
from collections.abc import Mapping
from typing import Any

try:
    import pillow_heif
except ImportError:
    pillow_heif = None  # type: ignore[assignment]

LEAST_VERSIONS = {"libheif": (1, 22, 1), "libde265": (1, 0, 19)}
"""The first versions with fixes for CVE-2026-49271, CVE-2026-45382 and all earlier ones."""

NAMES = ("HEIC", "HEIF")
"""The names that `formats.unaccepted_format` returns for such files."""


def obstacle_of(info: Mapping[str, Any]) -> str | None:
    """Return why the loaded libraries cannot be used, or `None` if they can.

    Args:
        info: the result of `pillow_heif.libheif_info`.

    >>> obstacle_of({"libheif": "1.21.2", "decoders": {"libde265": "version 1.0.19"}})
    'libheif 1.21.2 has known vulnerabilities, 1.22.1 or later is needed'
    """
    versions = {"libheif": info["libheif"], "libde265": info["decoders"].get("libde265", "none")}
    for library, least in LEAST_VERSIONS.items():
        found = re.search(r"\d+(?:\.\d+)+", versions[library])
        if found is None:
            return f"{library} is missing"
        if tuple(int(part) for part in found[0].split(".")) < least:
            needed = ".".join(str(part) for part in least)
            return f"{library} {found[0]} has known vulnerabilities, {needed} or later is needed"
    return None


def _obstacle() -> str | None:
    if pillow_heif is None:
        return "the service was installed without its extra heic"
    return obstacle_of(pillow_heif.libheif_info())


OBSTACLE = _obstacle()
"""Why HEIC cannot be read; `None` if it can."""

if OBSTACLE is None:  # the plugin can only be used through Pillow's registry
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
