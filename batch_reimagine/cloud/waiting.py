"""A folder in a store that nobody waits for longer than a run has time."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from batch_reimagine.cloud.objects import MOST_BYTES, Entry, Objects
from batch_reimagine.errors import ServiceGone

_LOOK_EVERY_S = 0.2
T = TypeVar("T")

#: Told when a wait began, when it must be over; both of `time.monotonic()`.
Until = Callable[[float], float]


class Waiting(Objects):
    """The same folder. Once `until` is set, a method raises ServiceGone when its time is over.

    What was asked goes on in a thread of its own, whose end nobody waits for: a picture may
    still arrive.
    """

    until: Until | None = None

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects.store, objects.address)

    def get(self, name: str, *, most_bytes: int = MOST_BYTES) -> tuple[bytes, Entry]:
        get = super().get
        return self._wait(lambda: get(name, most_bytes=most_bytes))

    def about(self, name: str) -> tuple[Entry, dict[str, str]] | None:
        about = super().about
        return self._wait(lambda: about(name))

    def put(
        self,
        name: str,
        data: bytes,
        *,
        about: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
        when: str = "always",
    ) -> str:
        put = super().put
        return self._wait(
            lambda: put(name, data, about=about, content_type=content_type, when=when)
        )

    def delete(self, name: str) -> None:
        delete = super().delete
        self._wait(lambda: delete(name))

    def move(self, name: str, to: str) -> None:
        move = super().move
        self._wait(lambda: move(name, to))

    def pages(self, prefix: str = "", after: str = "") -> Iterator[list[Entry]]:
        pages = super().pages(prefix, after)
        while (page := self._wait(lambda: next(pages, None))) is not None:
            yield page

    def _wait(self, ask: Callable[[], T]) -> T:
        until = self.until
        if until is None:
            return ask()
        began = time.monotonic()
        if began >= until(began):
            raise self._gone()
        over = threading.Event()
        answers: list[T] = []
        errors: list[BaseException] = []

        def work() -> None:
            try:
                answers.append(ask())
            except BaseException as error:  # noqa: BLE001 - raised where it was asked
                errors.append(error)
            finally:
                over.set()

        threading.Thread(target=work, name="store", daemon=True).start()
        while not over.wait(_LOOK_EVERY_S):
            if time.monotonic() >= until(began):
                raise self._gone()
        if errors:
            raise errors[0]
        return answers[0]

    def _gone(self) -> ServiceGone:
        return ServiceGone(f"{self.address}: the run is to end, and the store did not answer")
