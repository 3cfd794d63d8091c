"""Who may come in, and what every answer's head says.

A page anywhere on the web can make the user's browser send requests to this machine; so each
one must name this server as its Host (a name that was bound anew to 127.0.0.1 does not),
hold the cookie of a session, and, where it changes anything, come from this very page.
"""

import hmac
import re
import secrets
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

MOST_BODY_BYTES = 64_000
_MOST_SESSIONS = 64  # windows that were ever opened; the oldest must open anew
_MOST_TOKEN = 200  # characters
_PATH = re.compile(r"/[A-Za-z0-9._/-]*(\?[!-~]*)?")  # nothing encoded, so nothing hidden
_HIDDEN = re.compile(r"//|/\.")
_WRITES = {"PUT", "POST"}
_OPEN = {"/login"}
_LANDINGS = {"/", "/login"}  # that a link elsewhere may lead to
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none';"
        " frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class RefusalError(Exception):
    """An answer that is no success: its status, and one sentence with the way out."""

    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(status, message)
        self.status, self.message, self.more = status, message, more


class Guard:
    """host: as given; announce: told the address with its token, again after each use.

    unexpected: told of what is a bug.
    """

    def __init__(
        self,
        host: str,
        announce: Callable[[str], None],
        unexpected: Callable[[BaseException], None],
    ) -> None:
        self._unexpected = unexpected
        self._host = f"[{host}]" if ":" in host else host
        self._announce = announce
        self._hosts: set[str] = set()
        self._port = 0
        self._token = ""
        self._sessions: deque[str] = deque(maxlen=_MOST_SESSIONS)

    @property
    def cookie(self) -> str:
        """Its name is bound to the port: cookies of other ports come along."""
        return f"reimagine-{self._port}"

    def open(self, port: int) -> str:
        """Begin, on this port; return the address with its token, which is announced too."""
        self._port = port
        names = {"127.0.0.1", "localhost", "[::1]", self._host.lower()}
        self._hosts = {f"{name}:{port}" for name in names}
        return self._mint()

    def _mint(self) -> str:
        self._token = secrets.token_urlsafe(32)
        address = f"http://{self._host}:{self._port}/login?token={self._token}"
        self._announce(address)
        return address

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Give a session for the token, which is used up by it."""
        token = request.query.get("token", "")[:_MOST_TOKEN]
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode()):
            raise RefusalError(
                403, "this address has been used or is wrong: take the newest one in the terminal"
            )
        self._mint()
        session = secrets.token_urlsafe(32)
        self._sessions.append(session)
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(self.cookie, session, httponly=True, samesite="Strict", path="/")
        return answer

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check(request)
            return await handler(request)
        except RefusalError as error:
            return refusal(error)
        except web.HTTPException as error:
            words = {404: "there is nothing of that name", 405: "that cannot be done here"}
            told = words.get(error.status, (error.reason or "no").lower())
            return refusal(RefusalError(error.status, told))
        except Exception as error:  # noqa: BLE001 - no traceback reaches a user
            self._unexpected(error)
            return refusal(RefusalError(500, "unexpected: this is a bug; nothing is lost by it"))

    def _check(self, request: web.Request) -> None:
        raw = request.raw_path
        if not _PATH.fullmatch(raw) or _HIDDEN.search(raw.partition("?")[0]):
            raise RefusalError(404, "there is nothing of that name")
        hosts = request.headers.getall("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            raise RefusalError(
                403, "this server answers to its own address only: take the one in the terminal"
            )
        origins = request.headers.getall("Origin", [])
        if any(origin != f"http://{hosts[0].lower()}" for origin in origins):
            raise RefusalError(403, "another page has asked for this")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if site not in {"same-origin", "none"} and request.path not in _LANDINGS:
            raise RefusalError(403, "another page has asked for this")
        if request.path not in _OPEN and not self._has_session(request):
            raise RefusalError(401, "no session: open the newest address in the terminal")
        if request.method in _WRITES:
            if not origins:
                raise RefusalError(403, "a change must come from this page (no Origin)")
            if request.content_type != "application/json":
                raise RefusalError(415, "a change is told in JSON")
            if (request.content_length or 0) > MOST_BODY_BYTES:
                raise RefusalError(413, f"more than {MOST_BODY_BYTES:,} bytes")

    def _has_session(self, request: web.Request) -> bool:
        given = request.cookies.get(self.cookie, "")[:_MOST_TOKEN].encode("utf-8", "surrogatepass")
        return any(hmac.compare_digest(given, known.encode()) for known in self._sessions)


async def set_headers(_: web.Request, answer: web.StreamResponse) -> None:
    """What every answer says, whatever it is."""
    answer.headers.update(_HEADERS)
    answer.headers.setdefault("Cache-Control", "no-store")


def refusal(error: RefusalError) -> web.Response:
    """As the page reads it."""
    return in_json({"error": error.message, **error.more}, error.status)


def in_json(value: object, status: int = 200) -> web.Response:
    """Anything that msgspec writes."""
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type="application/json",
        charset="utf-8",
    )  # fmt: skip
