"""What every provider must keep, checked without a socket: ours are, and third parties' can be.

In a provider's own tests: `assert faults_of(PROVIDER) == []`. It does not know a service's own
words and fields; those want tests of their own.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

import pybase64

from batch_reimagine.provider.contract import Action, Ask, Option, Provider, Request, Verdict
from batch_reimagine.work import Upload

_KEY = "conformance-key-0123456789"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_PHOTOS = (b"\xff\xd8\xff\xe0 a JPEG, so to say \xff\xd9", b"\x89PNG\r\n\x1a\n--\r\n\0")
#: What an option may be besides its default, where its pattern allows one of these.
_OTHERS = ("1", "2", "0.5", "a", "on", "true", "low", "png", "512", "512x512", "16:9", "a/b", "")

#: What a status means when nothing else can be read, whoever answers.
_MEANINGS: tuple[tuple[tuple[int, ...], set[Action]], ...] = (
    ((401, 402, 403), {Action.STOP_ACCOUNT}),
    ((301, 302, 307, 308, 404, 410), {Action.STOP_SERVICE}),
    ((500, 502, 503, 504, 599), {Action.RETRY, Action.RETRY_TWICE}),
    ((400, 413), {Action.REJECT, Action.REJECT_UNKNOWN}),
    ((429,), {Action.SLOW_DOWN}),
)
_BARE = {status: actions for statuses, actions in _MEANINGS for status in statuses}
_BARE_BODIES = (b"", b"<html><h1>Bad Gateway</h1></html>", b'{"code": 50', b"[1, 2]", b"{}")
_HOSTILE_BODIES = (
    *_BARE_BODIES,
    b"null",
    b"\xff\xfe{",
    b'"\\ud800"',
    b"9" * 5000,
    b'{"error": null, "data": null, "image_file": null}',
    b'{"error": [], "data": {}, "image_file": 7, "reason": [], "message": {}, "detail": 1e400}',
    b'{"data": [{"b64_json": "%%%"}, {"b64_json": 7}, 3]}',
    b'{"error": {"error": {"code": [], "message": "\\udfff"}}}',
    b"[" * 50_000,
    b'{"detail": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b"GIF89a",
    bytes(256),
)
_HOSTILE_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"x-remaining-credits": "many", "Content-Type": ""},
    {"x-remaining-credits": "9" * 5000, "Location": "\x00", "Retry-After": "soon"},
)


def faults_of(provider: Provider) -> list[str]:
    """What a provider does not keep, a sentence each; empty when all is well."""
    return [*_table(provider), *_authorization(provider), *_build(provider), *_judge(provider)]


def _table(provider: Provider) -> Iterator[str]:
    if not _NAME.fullmatch(provider.name):
        yield f"name: {provider.name!r} is no lower-case word"
    if not _VARIABLE.fullmatch(provider.key_variable):
        yield f"key_variable: {provider.key_variable!r} is no name of a variable"
    if not provider.path.startswith("/"):
        yield f"path: {provider.path!r} does not begin with /"
    if provider.base_url is not None and (
        not provider.base_url.startswith("https://") or provider.base_url.endswith("/")
    ):
        yield f"base_url: {provider.base_url!r} is no https:// address without a slash at its end"
    if not provider.system:
        yield "system: the AI mark needs a name"
    if provider.most_pictures < 1:
        yield "most_pictures: a call brings at least one"
    for name, option in provider.options.items():
        if name != name.lower() or "=" in name:
            yield f"options: {name!r} cannot be given on a command line"
        if not option.pattern.fullmatch(option.default):
            yield f"options: {name}'s default {option.default!r} is not what its pattern allows"


def _authorization(provider: Provider) -> Iterator[str]:
    headers = provider.authorization(_KEY)
    if not any(_KEY in value for value in headers.values()):
        yield "authorization: the key is in no header's value"
    if any(_KEY in name for name in headers):
        yield "authorization: the key is in a header's name"
    if not all(name and value.isprintable() for name, value in headers.items()):
        yield "authorization: a header is not plain text on one line"


def _build(provider: Provider) -> Iterator[str]:
    try:
        yield from _built(provider)
    except Exception as error:  # noqa: BLE001 - whatever it raises is the fault
        yield f"build: raises {type(error).__name__} for a lawful ask: {error}"


def _built(provider: Provider) -> Iterator[str]:
    asks = [_ask(provider, data, 1) for data in _PHOTOS]
    asks += [replace(ask, count=provider.most_pictures) for ask in asks]
    for ask in asks:
        request = provider.build(ask)
        body = b"".join(request.parts)
        if ask.upload.data not in body and pybase64.b64encode(ask.upload.data) not in body:
            yield "build: the photo's bytes are not in the body, plain or in base64"
        if request != provider.build(ask):
            yield "build: the same call is built in two ways, so it cannot be sent again"
        yield from _content_type(request)
    yield from _chosen(provider, asks[0])


def _ask(provider: Provider, data: bytes, count: int) -> Ask:
    """As a run asks that chooses nothing."""
    defaults = {name: option.default for name, option in provider.options.items()}
    return Ask(upload=Upload(data, 640, 480, None), count=count, options=defaults)


def _chosen(provider: Provider, ask: Ask) -> Iterator[str]:
    """What may be chosen is part of what is bought: it must make a difference to the call."""
    plain = provider.build(ask)
    for name, option in provider.options.items():
        others = [value for value in _others(option) if option.pattern.fullmatch(value)]
        asks = [replace(ask, options={**ask.options, name: value}) for value in others]
        calls = [provider.build(other) for other in asks]
        if calls and all(call == plain for call in calls):
            yield f"options: {name} makes no difference to the call"
        elif not calls and option.default.encode() not in b"".join(plain.parts):
            yield f"options: {name}'s default {option.default!r} is not in the call"
    if provider.most_pictures > 1 and provider.build(replace(ask, count=2)) == plain:
        yield "most_pictures: the call does not say how many"
    for type_ in provider.types[1:]:
        if provider.build(replace(ask, type=type_)) == plain:
            yield f"types: {type_} makes no difference to the call"
    if provider.enterprise and provider.build(replace(ask, enterprise=True)) == plain:
        yield "enterprise: it makes no difference to the call"


def _others(option: Option) -> Iterator[str]:
    default = option.default
    words = re.split(r"\W+", option.pattern.pattern)  # as in "low|high"
    for value in (*_OTHERS, *words, default[:-1], f"{default}0", f"{default}x", f"1{default}"):
        if value != default:
            yield value


def _content_type(request: Request) -> Iterator[str]:
    if not request.content_type.isprintable() or "/" not in request.content_type:
        yield f"build: {request.content_type!r} is no content type"


def _judge(provider: Provider) -> Iterator[str]:
    for status in (*_BARE, 100, 200, 201, 204, 418, 600, 0, -1, 10**9):
        for body in _HOSTILE_BODIES:
            for headers in _HOSTILE_HEADERS:
                where = f"judge: {status} with {bytes(body[:40])!r}"
                try:
                    verdict = provider.judge(status, headers, body)
                except Exception as error:  # noqa: BLE001 - whatever it raises is the fault
                    yield f"{where} raises {type(error).__name__}: {error}"
                    continue
                yield from (f"{where}: {fault}" for fault in broken(verdict, status))
                bare = body in _BARE_BODIES and status in _BARE
                if bare and verdict.action not in _BARE[status]:
                    yield f"{where}: {verdict.action.value}, which no such status means"


def broken(verdict: Verdict, status: int) -> Iterator[str]:
    """What is wrong with one verdict about an answer of this status, a sentence each."""
    kept = verdict.action is Action.KEEP
    if kept and not 200 <= status < 300:  # noqa: PLR2004
        yield "a picture is kept though the status is no success"
    if kept != any(verdict.pictures):
        yield "pictures come with KEEP, and KEEP with pictures"
    if not kept and (verdict.pictures or not verdict.reason):
        yield "an answer without a picture needs a reason, and no pictures"
    if verdict.credits_left is not None and verdict.credits_left < 0:
        yield "no account has less than no credits"
