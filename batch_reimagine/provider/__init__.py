"""The services that make pictures: pure functions that build a request and judge an answer.

Nothing here opens a socket, sleeps, retries or logs. A provider is a value of
`Provider`; adding one is a module beside `novita` and a line in `PROVIDERS`, or,
in another package, an entry point of the group `batch_reimagine.providers`.
"""

import difflib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from batch_reimagine.errors import UsageError
from batch_reimagine.provider import clipdrop, novita, variations
from batch_reimagine.provider.contract import Ask, Provider
from batch_reimagine.provider.guarded import guarded
from batch_reimagine.settings import Settings
from batch_reimagine.work import Upload

GROUP = "batch_reimagine.providers"  #: of entry points; each loads to a Provider
_SHORTEST_KEY = 16  # characters; no provider of ours has so long a name

#: The simulator is another reading of Novita's contract, on this machine.
SIMULATOR = replace(
    novita.PROVIDER,
    name="simulator",
    system="batch_reimagine simulator (no AI)",
    key_needed=False,
    billing=None,
)

#: Any server that speaks Novita's contract.
REIMAGINE = replace(
    novita.PROVIDER,
    name="reimagine",
    system="Reimagine, on a server of one's own",
    base_url=None,
    key_variable="REIMAGINE_API_KEY",
    key_needed=False,
    billing=None,
    pricing="a server of your own: whatever it costs you",
)

PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        novita.PROVIDER,
        clipdrop.PROVIDER,
        variations.DEEPINFRA,
        variations.VARIATIONS,
        REIMAGINE,
        SIMULATOR,
    )
}


@cache
def find_provider(name: str) -> Provider:
    """Look a provider up. Raises UsageError for one that nobody knows or that cannot be loaded."""
    if name in PROVIDERS:
        return PROVIDERS[name]
    from importlib import metadata  # noqa: PLC0415 - only for names that are not ours

    for point in metadata.entry_points(group=GROUP, name=name):
        try:
            provider = point.load()
        except (Exception, SystemExit) as error:  # foreign code: say whose it is
            why = f"provider {name!r} ({point.value}) cannot be loaded: {error!r}"
            raise UsageError(why) from error
        return guarded(provider, name, point.value)
    close = difflib.get_close_matches(name, names(), n=1)
    hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(names())}"
    shown = repr(name) if len(name) < _SHORTEST_KEY else "such name (not shown: it may be a key)"
    raise UsageError(f"provider: there is no {shown}; {hint}")


def names() -> list[str]:
    """All that can be chosen: ours, then those of other packages."""
    from importlib import metadata  # noqa: PLC0415 - likewise

    others = {point.name for point in metadata.entry_points(group=GROUP)}
    return [*PROVIDERS, *sorted(others - PROVIDERS.keys())]


def system_of(name: str) -> str | None:
    """What the AI mark names as the system used by a provider; None if nobody knows it here."""
    try:
        return find_provider(name).system
    except UsageError:
        return None


def provider_of(settings: Settings) -> Provider:
    """The provider of a run; refuse what it does not know. Raises UsageError."""
    provider = find_provider(settings.provider)
    if settings.type is not None and settings.type not in provider.types:
        can = f"it can be asked for {', '.join(provider.types)}" if provider.types else "it chooses"
        raise UsageError(f"type: {provider.name} gives no {settings.type} on demand; {can}")
    if settings.enterprise and not provider.enterprise:
        raise UsageError(f"enterprise: {provider.name} has no Dedicated Endpoints; leave it out")
    if settings.base_url is None and provider.base_url is None:
        raise UsageError(
            f"base_url: {provider.name} is a server of your own; say which with --base-url"
        )
    for name, value in settings.provider_options.items():
        option = provider.options.get(name)
        if option is None:
            known = ", ".join(provider.options) or "it has none"
            raise UsageError(f"provider_option: {provider.name} knows no {name!r}; known: {known}")
        if not option.pattern.fullmatch(value):
            raise UsageError(
                f"provider_option: {name}={value!r} is not possible for {provider.name}:"
                f" {option.meaning}"
            )
    return provider


def most_pictures(provider: Provider, settings: Settings) -> int:
    """How many variations one call of a run is to bring."""
    return min(provider.most_pictures, settings.per_call or provider.most_pictures)


def options_of(settings: Settings) -> dict[str, str]:
    """The provider's own settings, as given or by default."""
    options = find_provider(settings.provider).options
    return {name: option.default for name, option in options.items()} | settings.provider_options


def ask_of(upload: Upload, settings: Settings, count: int) -> Ask:
    """What one call of a run asks for: of what `request_of` names, all that the provider sends."""
    return Ask(
        upload=upload,
        count=count,
        type=settings.type,
        enterprise=settings.enterprise,
        options=options_of(settings),
    )


def request_of(settings: Settings) -> str:
    """The settings that decide what is bought, in words: the rows' `request`.

    No throughput knob is in it, nor the address: a run may go on through another gateway.
    """
    return " ".join(_words(settings))


def _words(settings: Settings) -> Iterator[str]:
    provider = find_provider(settings.provider)
    yield provider.name
    if provider.types:
        yield f"type={settings.type or provider.types[0]}"
    for name, value in sorted(options_of(settings).items()):
        if value:
            yield f"{name}={value}"
    if settings.enterprise:
        yield "enterprise"
