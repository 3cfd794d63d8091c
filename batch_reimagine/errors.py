"""What can go wrong, one question a class: who must act?

ReimagineError            never raised itself
├── UsageError            the caller: a setting or an argument is wrong; nothing was begun
├── PhotoError            nobody now: one photo or variation; recorded, the run goes on
│   ├── Rejected          the picture is not acceptable; asking again cannot help
│   └── Exhausted         still failing after the last attempt; a later run tries again
└── RunError              the operator: no photo can succeed; the run stops, none is marked failed
    ├── AccountRefused    the key, the account or its money
    ├── ServiceGone       the service cannot be reached, or is not where we were told
    ├── Halted            a halt rule: too much fails to go on burning the folder
    ├── LimitReached      the user's own budget, call or time limit
    ├── LocalResource     this machine: disk full, not writable
    ├── OutputMismatch    the output folder is not ours, or was made with other settings
    └── OutputBusy        another run is writing there

Every message says what, why and the way out. None ever holds the key.
"""


class ReimagineError(Exception):
    """Base of all errors this package raises on purpose."""


class UsageError(ReimagineError):
    """A setting or an argument is wrong."""


class PhotoError(ReimagineError):
    """One photo, or one variation of it, could not be made.

    reason: an upper-case word to group by, the service's own where it gave one.
    message: a sentence for people; bounded, one line.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # as given, so that it pickles
        self.reason, self.message = reason, message

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class Rejected(PhotoError):
    """The picture is not acceptable; asking again cannot help."""


class Exhausted(PhotoError):
    """Still failing after bounded attempts; a later run tries again."""


class RunError(ReimagineError):
    """No photo can succeed until the operator acts; the same command goes on afterwards."""


class AccountRefused(RunError):
    """The key or the account was refused, or there is no money."""


class ServiceGone(RunError):
    """The service cannot be reached, or the endpoint is not there."""


class Halted(RunError):
    """A halt rule stopped the run."""


class LimitReached(RunError):
    """A budget, call or time limit of the user's was reached."""


class LocalResource(RunError):
    """This machine refused a write: disk full, read-only, no permission."""


class OutputMismatch(RunError):
    """The folder is no output of this tool, or was made with other settings."""


class OutputBusy(RunError):
    """Another run holds the output."""
