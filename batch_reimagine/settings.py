"""One frozen Settings; flags, the environment and a TOML file feed it, in that order of strength.

The dataclass is the only place where a setting is described: `--help`, the
messages and the reference are made from it. `loading` fills it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from batch_reimagine.errors import UsageError
from batch_reimagine.shard import MOST as MOST_SHARDS
from batch_reimagine.shard import Shard

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")
_ADDRESS = re.compile(r"https?://[^/\s?#@]+(/[^\s?#@]*)?")
_HALT = re.compile(r"(now|soon),fail=(\d+(?:\.\d+)?)(%?)")

ImageType = Literal["png", "webp", "jpeg"]
OnUnknown = Literal["retry", "hold"]
Text = Annotated[str, Meta(min_length=1)]
Rate = Annotated[float, Meta(gt=0, le=1_000_000)]
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a run depends on but its inputs, its output and the key.

    `provider`, `provider_option`, `type` and `enterprise` decide what is bought and are part
    of each variation's identity; all others only decide how. Raises UsageError for a value
    out of range, naming it.
    """

    variations: Annotated[int, Meta(ge=1, le=9999, description="Variations of every photo.")] = 1
    provider: Annotated[
        Text,
        Meta(
            description="Who makes the pictures: novita, clipdrop or deepinfra; variations or"
            " reimagine, on a server of your own; simulator: in this process, free, no AI."
        ),
    ] = "novita"
    provider_option: Annotated[
        tuple[Text, ...],
        Meta(description='What one provider alone knows, as in "model=…"; part of what is bought.'),
    ] = ()
    base_url: Annotated[
        Text | None,
        Meta(description="Another server that speaks the contract. Default: the provider's own."),
    ] = None
    type: Annotated[
        ImageType | None, Meta(description="Type of the pictures to ask for. Default: PNG.")
    ] = None
    enterprise: Annotated[bool, Meta(description="Use the account's Dedicated Endpoints.")] = False
    concurrency: Annotated[
        int, Meta(ge=1, le=1000, description="Most calls in flight at once; adapts below that.")
    ] = 32
    rpm: Annotated[
        Rate | None, Meta(description="Most calls begun a minute, all workers together.")
    ] = None
    ramp: Annotated[
        Literal["on", "off"],
        Meta(description="Begin with few calls in flight and widen; off: begin with all."),
    ] = "on"
    attempts: Annotated[
        int, Meta(ge=1, le=100, description="Tries of one variation, the first included.")
    ] = 5
    timeout_s: Annotated[
        float, Meta(gt=0, le=3600, description="Seconds for one attempt, connect to last byte.")
    ] = 120.0
    retry_for_s: Annotated[
        float,
        Meta(gt=0, le=604_800, description="Seconds after which a failing variation is given up."),
    ] = 1800.0
    no_wait: Annotated[
        bool, Meta(description="Do not wait for a service that cannot be reached: end with 5.")
    ] = False
    per_call: Annotated[
        AtLeastOne | None,
        Meta(description="Most variations one call may bring. Default: what the provider can."),
    ] = None
    price: Annotated[
        Decimal | None, Meta(description="Price of one picture, in your currency.")
    ] = None
    budget: Annotated[
        Decimal | None, Meta(description="Most money for this output, over all its runs.")
    ] = None
    max_calls: Annotated[
        Count | None, Meta(description="Most calls this run may begin, retries included.")
    ] = None
    max_duration: Annotated[
        Text | None, Meta(description='Begin no call after this long: "90s", "15m", "1h30m".')
    ] = None
    halt: Annotated[
        Text | None,
        Meta(
            description='Stop when this many fail: "soon,fail=10%" ends calls in flight first,'
            ' "now,fail=20" drops them.'
        ),
    ] = None
    on_unknown: Annotated[
        OnUnknown,
        Meta(description="Variations that a crash may have paid for: make them again, or hold."),
    ] = "retry"
    retry_failed: Annotated[
        bool, Meta(description="Try photos again that an earlier run saw refused.")
    ] = False
    max_megapixels: Annotated[
        float,
        Meta(
            gt=0, le=10_000, description="Photos of more are refused; most that is decoded at once."
        ),
    ] = 200.0
    mark: Annotated[
        bool,
        Meta(description="Mark the pictures as made by AI, as IPTC and shops have it; losslessly."),
    ] = True
    rehash: Annotated[
        bool, Meta(description="Read every photo again, also if its size and times are as before.")
    ] = False
    include: Annotated[
        tuple[Text, ...], Meta(description='Only files that match, as in .gitignore: "*.png".')
    ] = ()
    exclude: Annotated[
        tuple[Text, ...], Meta(description='No files that match, as in .gitignore: "drafts/".')
    ] = ()
    store_option: Annotated[
        tuple[Text, ...],
        Meta(description='Of object stores, as obstore names it: "endpoint=http://…".'),
    ] = field(default=(), repr=False)  # a value may be a secret, though it is refused as one
    books: Annotated[
        Text | None,
        Meta(description="Local folder for the books of an output in a store. Default: in ~."),
    ] = None
    engine: Annotated[
        Literal["local", "ray"], Meta(description="Where the work is done; ray: on many machines.")
    ] = "local"
    address: Annotated[
        Text | None,
        Meta(description="Of the Ray cluster: auto or HOST:PORT. Default: this machine's."),
    ] = None
    nodes: Annotated[
        AtLeastOne | None, Meta(description="Most machines of the Ray cluster to use.")
    ] = None
    limit: Annotated[AtLeastOne | None, Meta(description="Only the first so many photos.")] = None
    shard: Annotated[
        Text | None,
        Meta(
            description='"3/16": only this share of the photos, of rpm, budget and max_calls;'
            " each share may run on a machine of its own."
        ),
    ] = None

    def __post_init__(self) -> None:
        for name in FIELDS:
            converted = checked(name, getattr(self, name), "Settings")
            object.__setattr__(self, name, converted)  # frozen from here on
        for name in ("price", "budget"):
            amount = getattr(self, name)
            if amount is not None and not (amount.is_finite() and amount >= 0):
                raise UsageError(f"{name}: {amount} is not possible: Expected a number >= 0")
        if self.budget is not None and self.price is None:
            raise UsageError(
                "budget: a budget needs the price of one picture, which the service states nowhere;"
                " set it with --price 0.0123 or price = 0.0123 in the settings file"
            )
        if self.base_url is not None and not _ADDRESS.fullmatch(self.base_url):
            raise UsageError(
                f"base_url: {_bare(self.base_url)!r} is no web address;"
                " it begins with http:// or https:// and holds no user, query or fragment"
            )
        if self.base_url is not None:
            try:
                urlsplit(self.base_url).port  # noqa: B018 - raises when it is none
            except ValueError:  # whose text repeats what stands there, and may be a password
                why = f"base_url: {_bare(self.base_url)!r} is no web address: look at host and port"
                raise UsageError(why) from None
        if self.engine == "local" and (self.address or self.nodes):
            raise UsageError("address, nodes: these are of a Ray cluster; add --engine ray")
        if self.base_url is not None and self.provider == "simulator":
            raise UsageError("base_url: the simulator has its own; leave out one of the two")
        self.max_duration_s  # noqa: B018 - raises when it cannot be read
        self.halt_rule  # noqa: B018 - likewise
        self.store_options  # noqa: B018 - likewise
        self.provider_options  # noqa: B018 - likewise
        self.shard_of  # noqa: B018 - likewise

    @property
    def max_duration_s(self) -> float | None:
        """max_duration in seconds."""
        if self.max_duration is None:
            return None
        found = _DURATION.fullmatch(self.max_duration.strip())
        if not found or not any(found.groups()):
            raise UsageError(
                f"max_duration: {self.max_duration!r} is no length of time;"
                ' write "90s", "15m", "2h" or "1h30m"'
            )
        hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds

    @property
    def halt_rule(self) -> tuple[Literal["now", "soon"], float, bool] | None:
        """Halt as (when, threshold, whether the threshold is per cent)."""
        if self.halt is None:
            return None
        found = _HALT.fullmatch(self.halt.replace(" ", ""))
        most = 100.0 if found and found[3] else float("inf")
        least = 0.001 if found and found[3] else 1.0
        if not found or not least <= float(found[2]) <= most:
            raise UsageError(
                f'halt: {self.halt!r} is no rule; write "soon,fail=10%" or "now,fail=20"'
            )
        return ("now" if found[1] == "now" else "soon"), float(found[2]), bool(found[3])

    @property
    def store_options(self) -> dict[str, str]:
        """store_option as a table. Raises UsageError."""
        return _table("store_option", self.store_option)

    @property
    def provider_options(self) -> dict[str, str]:
        """provider_option as a table. Raises UsageError."""
        return _table("provider_option", self.provider_option)

    @property
    def shard_of(self) -> Shard | None:
        """Share of the photos as (k, n); None for the whole."""
        if self.shard is None:
            return None
        found = Shard.of(self.shard)
        if found is None:
            raise UsageError(
                f"shard: {self.shard!r} is no share; write 3/16: the third of sixteen, of at most"
                f" {MOST_SHARDS:,}"
            )
        return found

    @property
    def share(self) -> "Settings":
        """The same, with this process' own part of rpm, budget and max_calls."""
        shard = self.shard_of
        if shard is None:
            return self
        return replace(
            self,
            rpm=None if self.rpm is None else self.rpm / shard.n,
            max_calls=None if self.max_calls is None else shard.share_of_calls(self.max_calls),
            budget=None if self.budget is None else shard.share_of_money(self.budget, self.price),
        )


#: Their values are repeated in no message.
_MAY_BE_SECRET = {"store_option"}
_SHORTEST_KEY = 16  # characters

FIELDS: dict[str, Any] = get_type_hints(Settings, include_extras=True)


def _bare(address: str) -> str:
    """Without what may be secret: a user, a port that is none, a query; or all that is no URL."""
    scheme, found, rest = address.partition("://")
    if not found:
        return address if len(address) < _SHORTEST_KEY and "@" not in address else "…"
    rest = re.sub(r"^.*@", "…@", rest, flags=re.DOTALL)
    rest = re.sub(r":(?![0-9]{1,5}(/|$))[^\]]*$", ":…", rest, flags=re.DOTALL)
    return f"{scheme}://" + re.sub(r"[?#].*", "?…", rest, flags=re.DOTALL)


def _table(setting: str, texts: Sequence[str]) -> dict[str, str]:
    options = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found or not name:
            what = "one" if setting in _MAY_BE_SECRET else repr(text)
            raise UsageError(f"{setting}: {what} is none; write name=value")
        options[name.strip().lower()] = value
    return options


def describe(name: str) -> str:
    """What a setting means, one sentence."""
    told = (meta.description for meta in get_args(FIELDS[name]) if isinstance(meta, Meta))
    return next(filter(None, told))


def checked(name: str, value: Any, where: str) -> Any:
    """The value as its setting holds it.

    where: that it came from. Raises UsageError that names the setting and what is allowed.
    """
    hint = FIELDS[name]
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        shown = value if isinstance(value, int | float | Decimal) else repr(value)
        if name in _MAY_BE_SECRET:
            shown = "its value (not shown)"
        allowed = str(error).split(" - at ")[0].replace("`", "")
        if choices := _choices(hint):
            allowed = f"Expected one of {', '.join(choices)}"
        # A flag bears the setting's name itself.
        source = "" if where == "Settings" or where.startswith("--") else f"{where}: "
        raise UsageError(f"{source}{name}: {shown} is not possible: {allowed}") from None


def _choices(hint: Any) -> tuple[str, ...]:
    """What a setting of few words may be; empty for others."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((found for part in get_args(hint) if (found := _choices(part))), ())
