"""Lists the accepted picture formats and recognises well-known others by their first bytes."""

import re

from app.pictures import heic, jpeg

_ALWAYS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
OPENED_BY_PILLOW = _ALWAYS if heic.OBSTACLE else (*_ALWAYS, "HEIF")
"""Pillow's names of the accepted formats except TIFF; its JPEG includes the MPO files of phones."""

ACCEPTED_IN_WORDS = "JPEG, PNG, WebP, GIF, BMP, TIFF" + (
    " and AVIF" if heic.OBSTACLE else ", AVIF and HEIC"
)

_SIGNATURES = (
    (b"8BPS", "PSD"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"icns", "ICNS"),
    (b"%PDF-", "PDF"),
    (b"%!PS", "PostScript"),
    (b"\xc5\xd0\xd3\xc6", "PostScript"),
    (b"DDS ", "DDS"),
    (b"qoif", "QOI"),
    (b"gimp xcf", "XCF"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"\x76\x2f\x31\x01", "OpenEXR"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
}
_CURSOR = re.compile(rb"\x00\x00\x02\x00(?!\x00\x00)")
_TGA = re.compile(
    rb"(?s).(?:\x00[\x02\x03\x0a\x0b]\x00{5}|\x01[\x01\x09]....[\x0f\x10\x18\x20])"
    rb".{8}[\x08\x0f\x10\x18\x20]"
)
_NETPBM = re.compile(rb"P[1-7F][ \t\r\n#]")
_UNSUPPORTED_BMP = re.compile("Unsupported BMP (pixel depth|compression)")
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>|<!--|<!DOCTYPE\s+svg|<svg[\s>])")


def unaccepted_format(data: bytes) -> str | None:
    r"""Return the name of a known format that is not accepted, or `None`.

    >>> unaccepted_format(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    'HEIC'
    """
    head = data[:1024]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    for pattern, name in ((_NETPBM, "Netpbm"), (_CURSOR, "CUR")):
        if pattern.match(head):
            return name
    if _SVG.match(head) and b"<svg" in head:
        return "SVG"
    named = next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)
    return named or ("TGA" if _TGA.match(head) else None)


def unaccepted_kind(data: bytes, error: str) -> str | None:
    """Return the kind of a file whose format is accepted but whose kind is not, or `None`.

    Args:
        error: the message of its decoder.
    """
    if data.startswith(b"\xff\xd8"):
        return jpeg.unaccepted_kind(data)
    found = _UNSUPPORTED_BMP.match(error)
    return f"a BMP of this {found[1]}" if found else None
