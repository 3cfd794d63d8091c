"""What every provider must decide, as values."""

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from batch_reimagine.provider.billing import Billing
from batch_reimagine.settings import ImageType
from batch_reimagine.work import Upload


class Action(enum.Enum):
    """What an answer asks us to do."""

    KEEP = "keep"  #: it holds pictures
    RETRY = "retry"  #: a fault that may pass; counts as one of the attempts
    RETRY_TWICE = "retry twice"  #: a fault that may be the picture's own
    SLOW_DOWN = "slow down"  #: a limit of the account: all wait, no attempt is used up
    REJECT = "reject"  #: the picture is not acceptable
    REJECT_UNKNOWN = "reject unknown"  #: so it seems; several alike in a row are not the pictures'
    STOP_ACCOUNT = "stop: account"  #: the key, the account or its money
    STOP_SERVICE = "stop: service"  #: the endpoint is not here


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer, judged."""

    action: Action
    reason: str | None = None  #: the service's own word, or ours for what has none
    message: str | None = None  #: one line; the service's own text, not yet made safe to show
    #: decoded bytes, not yet proven complete; one or more with KEEP alone, b"" for one that was
    #: promised and cannot be read
    pictures: tuple[bytes, ...] = ()
    task_id: str | None = None
    credits_left: int | None = None  #: where an answer tells what the account still has


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What one call is to ask for."""

    upload: Upload  #: the photo, ready to be sent
    count: int = 1  #: pictures, at most the provider's `most_pictures`
    type: ImageType | None = None  #: one of its `types`; None: not chosen, the first is expected
    enterprise: bool = False
    #: a value for each of its `options`, as given or by default
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Request:
    """The body of one call."""

    parts: tuple[bytes, ...]  #: sent one after the other, so that megabytes are never copied
    content_type: str


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that one provider knows and others do not; it decides what is bought."""

    default: str
    pattern: re.Pattern[str]  #: what it may be, as a whole
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A service, as a table of facts and two pure functions."""

    name: str  #: as `--provider` has it, and the manifest's rows
    system: str  #: what the AI mark names as the system used
    base_url: str | None  #: None: there is none of its own, --base-url must say it
    path: str  #: of the call, below the base URL
    key_variable: str  #: the environment variable that holds the key
    key_needed: bool = True  #: False: a server of one's own may ask for none
    authorization: Callable[[str], dict[str, str]]  #: the key → request headers
    build: Callable[[Ask], Request]  #: the same ask gives the same bytes
    #: status, headers, body; never raises
    judge: Callable[[int, Mapping[str, str], bytes | bytearray], Verdict]
    types: tuple[ImageType, ...] = ()  #: that can be asked for, the usual one first
    enterprise: bool = False  #: whether it knows Dedicated Endpoints
    options: Mapping[str, Option] = field(default_factory=lambda: MappingProxyType({}))
    most_pictures: int = 1  #: that one call can bring
    #: whether a POST of `{}` to `path` is known to be an error that buys nothing: `doctor` and
    #: `auth` try the key so; where it is not known they never call `path`
    knocks: bool = False
    rpm: float | None = None  #: calls a minute that the vendor states; None: states none
    pricing: str = ""  #: what the vendor says of its price, a sentence for people
    billing: Billing | None = None  #: where the vendor tells balance and bill; None: nowhere
