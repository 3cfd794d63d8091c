"""A body of multipart/form-data (RFC 7578) whose photo is not copied."""

import itertools
from collections.abc import Mapping

from batch_reimagine.provider.contract import Request
from batch_reimagine.work import Upload

_PNG = b"\x89PNG"


def form(field: str, upload: Upload, texts: Mapping[str, str]) -> Request:
    """The photo as a file in `field`, then the texts; the same input gives the same bytes.

    texts: names and values of ASCII without quotes and line ends; ours, never a server's or a
    photo's. The file's name tells its type and nothing of the photo's own name.
    """
    boundary = _boundary(upload.data)
    kind = "png" if upload.data.startswith(_PNG) else "jpeg"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}";'
        f' filename="photo.{kind}"\r\nContent-Type: image/{kind}\r\n\r\n'
    )
    tail = "".join(
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}'
        for name, text in texts.items()
    )
    parts = head.encode("ascii"), upload.data, f"{tail}\r\n--{boundary}--\r\n".encode("ascii")
    return Request(parts, f"multipart/form-data; boundary={boundary}")


def _boundary(data: bytes) -> str:
    """A line that the photo does not hold, whatever it holds."""
    for number in itertools.count():
        boundary = f"batch-reimagine-{number}"
        if boundary.encode() not in data:
            return boundary
    raise AssertionError  # pragma: no cover - there are more numbers than bytes
