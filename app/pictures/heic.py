"""HEIC, where the extra `heic` is installed; it is Apple's format, and its decoders are young in C.

pillow-heif turns a picture by its container's own rotation while decoding, and takes the
orientation out of its EXIF: nothing is left to turn. Its libraries are used only in versions
without known flaws; the reasons are in `docs/adr/0032-heic-is-an-extra.md`.
"""

import re
from collections.abc import Mapping
from typing import Any

try:
    import pillow_heif
except ImportError:
    pillow_heif = None  # type: ignore[assignment]

LEAST_VERSIONS = {"libheif": (1, 22, 1), "libde265": (1, 0, 19)}
"""The first ones in which CVE-2026-49271 and CVE-2026-45382 are fixed, and all before these."""

NAMES = ("HEIC", "HEIF")
"""What `formats.unaccepted_format` calls such files."""


def obstacle_of(info: Mapping[str, Any]) -> str | None:
    """Return why the loaded libraries are not used, or `None` if they are.

    Args:
        info: what `pillow_heif.libheif_info` says.

    >>> obstacle_of({"libheif": "1.21.2", "decoders": {"libde265": "version 1.0.19"}})
    'libheif 1.21.2 has known flaws, 1.22.1 is needed'
    """
    versions = {"libheif": info["libheif"], "libde265": info["decoders"].get("libde265", "none")}
    for library, least in LEAST_VERSIONS.items():
        found = re.search(r"\d+(?:\.\d+)+", versions[library])
        if found is None:
            return f"{library} is missing"
        if tuple(int(part) for part in found[0].split(".")) < least:
            needed = ".".join(str(part) for part in least)
            return f"{library} {found[0]} has known flaws, {needed} is needed"
    return None


def _obstacle() -> str | None:
    if pillow_heif is None:
        return "the service was installed without its extra heic"
    return obstacle_of(pillow_heif.libheif_info())


OBSTACLE = _obstacle()
"""Why HEIC is not read; `None` if it is."""

if OBSTACLE is None:  # Pillow's registry is the plugin's only way in
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
