"""What the simulator's contracts have in common: one service's way to be asked and to answer.

Each contract is a second reading of its vendor's documents; it shares no code with the client's.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web
from multidict import MultiMapping

from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.reasons import Refusal

MAX_FILE_BYTES: Final = 30 * 1000 * 1000

Form = MultiMapping[str | bytearray | web.FileField]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A call whose form is right; whether `photo` is a picture is not known yet."""

    photo: bytes
    photo_sha256: str
    image_type: str
    count: int = 1
    """Pictures asked for."""
    size: tuple[int, int] | None = None
    """Width and height asked for; None leaves it to the service."""


class Contract(Protocol):
    """One service's way."""

    name: str
    """In the stats."""

    def key_of(self, headers: Mapping[str, str]) -> str:
        """The key that a request brings; empty if none."""
        ...

    async def receive(self, request: web.Request) -> object:
        """Wait for the whole body; raise HTTPRequestEntityTooLarge, or ValueError for no form."""
        ...

    def read(self, received: Any, content_type: str) -> Ask:
        """Read what came, in a worker thread; raise Refusal naming the field at fault."""
        ...

    def words(self, error: Refusal) -> tuple[int, dict[str, Any]]:
        """The status and the document that say it as this service does."""
        ...

    def success(
        self, pictures: Sequence[bytes], ask: Ask, task_id: str, left: int, *, spoilt: bool = False
    ) -> Answer:
        """A 200 with the pictures.

        left: what the account can still pay after this call. spoilt: written so that nobody can
        read them.
        """
        ...


def bad(field: str, what: str) -> Refusal:
    """The refusal of a request whose `field` is wrong."""
    return Refusal("INVALID_REQUEST_BODY", f"{field} {what}", field=field)


def photo_of(form: Form, field: str, *, texts: set[str]) -> bytes:
    """The file in `field` of a form that has the `texts` and nothing else; raise Refusal."""
    for name in form:
        if name not in {field, *texts}:
            raise bad(name, "is unknown")
        if len(form.getall(name)) > 1:
            raise bad(name, "came twice")
        if name != field and not isinstance(form[name], str):
            raise bad(name, "must be plain text")
    file = form.get(field)
    if not isinstance(file, web.FileField):
        raise bad(field, "is required and must be a file")
    with file.file:
        photo = file.file.read()
    kind = "image/png" if photo.startswith(b"\x89PNG") else "image/jpeg"
    if file.content_type not in {kind, "application/octet-stream"}:
        raise bad(field, f"calls itself {file.content_type}")
    if len(photo) > MAX_FILE_BYTES:
        raise Refusal("IMAGE_FILE_EXCEEDS_MAX_SIZE", field=field)
    return photo


def sha256(photo: bytes) -> str:
    """The digest that photos are known by."""
    return hashlib.sha256(photo).hexdigest()


def bearer(headers: Mapping[str, str]) -> str:
    """The key of an Authorization header, with and without `Bearer`."""
    given = headers.get("Authorization", "").strip()
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else given
