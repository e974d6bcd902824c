"""Between the front and its workers: frames of bytes on a Unix socket pair.

There: the number of requests, then points and values a point of each, then their float32.  Back: the time it took in
ns, 0 or the length of an error's text, outputs a point; then the float32 of all requests one after the other.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

#: Bytes after this header, requests.
BATCH = struct.Struct("<QI")
REQUEST = struct.Struct("<II")
#: Bytes after this header, time taken in ns, length of an error's text (0: none), outputs a point.
ANSWER = struct.Struct("<QqII")


def pack_batch(requests: Sequence[tuple[int, int, bytes]]) -> list[bytes]:
    """A batch of (points, values a point, float32)."""
    heads = b"".join(REQUEST.pack(points, width) for points, width, _ in requests)
    size = len(heads) + sum(len(data) for _, _, data in requests)
    return [BATCH.pack(size, len(requests)), heads, *(data for _, _, data in requests)]
