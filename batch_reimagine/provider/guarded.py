"""Providers of other packages: what they hand over is looked at before anything is bought by it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, get_args

from batch_reimagine.errors import UsageError
from batch_reimagine.provider.contract import Action, Ask, Option, Provider, Request, Verdict
from batch_reimagine.settings import ImageType

BROKEN = "PROVIDER_BROKEN"  #: our reason for an answer that a provider could not judge


def guarded(provider: object, name: str, whose: str) -> Provider:
    """The same provider, its functions kept to their word.

    whose: the entry point, for people. Raises UsageError for what is no provider of that name;
    so do its `build` and `authorization`, before anything is sent. Its `judge` gives a verdict
    whatever happens, one that stops the run: each call might be paid for nothing.
    """
    who = f"provider {name!r} ({whose})"
    if not isinstance(provider, Provider) or provider.name != name:
        raise UsageError(f"{who} is no Provider of that name")
    for field, is_right in _FIELDS.items():
        value = getattr(provider, field)
        if not is_right(value):
            raise UsageError(f"{who}: {field} = {value!r} is not possible")
    guard = _Guard(provider, who)
    return replace(
        provider, build=guard.build, authorization=guard.authorization, judge=guard.judge
    )


class _Guard:
    """The functions of a provider; who: it is, for people."""

    def __init__(self, provider: Provider, who: str) -> None:
        self._provider = provider
        self._who = who

    def build(self, ask: Ask) -> Request:
        try:
            request = self._provider.build(ask)
        except Exception as error:  # foreign code
            why = f"{self._who} builds no request: {type(error).__name__}: {error}"
            raise UsageError(why) from error
        if not _is_request(request):
            raise UsageError(f"{self._who} builds no Request of bytes")
        return request

    def authorization(self, key: str) -> dict[str, str]:
        try:
            headers = self._provider.authorization(key)
        except Exception as error:  # noqa: BLE001 - foreign code; its words may hold the key
            raise UsageError(f"{self._who} makes no headers: {type(error).__name__}") from None
        if not _is_text_table(headers):
            raise UsageError(f"{self._who} makes no headers of text")
        return headers

    def judge(self, status: int, headers: Mapping[str, str], body: bytes | bytearray) -> Verdict:
        try:
            verdict = self._provider.judge(status, headers, body)
        except Exception as error:  # noqa: BLE001 - foreign code
            return self._broken(f"{type(error).__name__}: {error}")
        if not _is_verdict(verdict):
            return self._broken("it gave no Verdict as the contract has it")
        if verdict.action is Action.KEEP and not verdict.pictures:
            return replace(verdict, action=Action.RETRY, reason="MALFORMED_ANSWER")
        return verdict

    def _broken(self, why: str) -> Verdict:
        message = f"{self._who} cannot judge an answer: {why}. No more is bought through it"
        return Verdict(Action.STOP_SERVICE, BROKEN, message)


def _is_request(value: object) -> bool:
    told: Any = value  # whatever its fields are said to be
    return (
        isinstance(value, Request)
        and isinstance(told.content_type, str)
        and isinstance(told.parts, tuple)
        and all(isinstance(part, bytes) for part in told.parts)
    )


def _is_verdict(value: object) -> bool:
    told: Any = value
    return (
        isinstance(value, Verdict)
        and isinstance(told.action, Action)
        and all(isinstance(text, str | None) for text in (told.reason, told.message, told.task_id))
        and isinstance(told.pictures, tuple)
        and all(isinstance(picture, bytes) for picture in told.pictures)
        and isinstance(told.credits_left, int | None)
    )


def _is_text_table(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(word, str) for pair in value.items() for word in pair
    )


def _is_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(name, str) and isinstance(option, Option) for name, option in value.items()
    )


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "system": lambda value: isinstance(value, str),
    "base_url": lambda value: (
        value is None or (isinstance(value, str) and value.startswith(("http://", "https://")))
    ),
    "path": lambda value: isinstance(value, str) and value.startswith("/"),
    "key_variable": lambda value: isinstance(value, str) and bool(value),
    "authorization": callable,
    "build": callable,
    "judge": callable,
    "types": lambda value: isinstance(value, tuple) and set(value) <= set(get_args(ImageType)),
    "options": _is_options,
    "most_pictures": lambda value: isinstance(value, int) and value >= 1,
    "rpm": lambda value: value is None or (isinstance(value, int | float) and value > 0),
}
