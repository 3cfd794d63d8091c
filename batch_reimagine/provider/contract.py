"""What every provider must decide, as values."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from batch_reimagine.settings import Settings
from batch_reimagine.work import Upload


class Action(enum.Enum):
    """What an answer asks us to do."""

    KEEP = "keep"  #: it holds a picture
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
    picture: bytes | None = None  #: decoded bytes, not yet proven complete; only with KEEP
    task_id: str | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """A service, as a table of facts and two pure functions."""

    base_url: str
    path: str
    system: str  #: what the AI mark names as the system used
    key_variable: str  #: the environment variable that holds the key
    authorization: Callable[[str], dict[str, str]]
    build: Callable[[Upload, Settings], tuple[bytes, ...]]  #: the body, in parts
    content_type: str
    #: status, headers, body; never raises
    judge: Callable[[int, Mapping[str, str], bytes | bytearray], Verdict]
