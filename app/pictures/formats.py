"""Which picture formats are accepted, and how well-known others are told by their first bytes."""

import re

ACCEPTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""Pillow's names; its JPEG includes the MPO of phones."""

ACCEPTED_IN_WORDS = "JPEG, PNG, WebP, GIF, BMP and TIFF"

_SIGNATURES = (
    (b"8BPS", "PSD"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x02\x00", "CUR"),
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
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC"),
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
}
_NETPBM = re.compile(rb"P[1-7F][ \t\r\n#]")
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>|<!--|<!DOCTYPE\s+svg|<svg[\s>])")


def unaccepted_format(data: bytes) -> str | None:
    r"""Return the name of a known format that is not accepted, or None.

    >>> unaccepted_format(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    'HEIC'
    """
    head = data[:1024]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if _NETPBM.match(head):
        return "Netpbm"
    if _SVG.match(head) and b"<svg" in head:
        return "SVG"
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)
