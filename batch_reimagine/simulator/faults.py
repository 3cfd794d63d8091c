"""What meets a call: drawn by chance, the same chance every time.

Rule 1: everything random about a call but its picture is drawn here, from (seed, photo, nth call).
Rule 2: nothing here sleeps, sends or counts.
"""

from dataclasses import dataclass
from enum import Enum
from random import Random

from batch_reimagine.simulator.behaviour import MALFORMED_KINDS, Behaviour, MalformedKind
from batch_reimagine.simulator.reasons import BACK_END_FAULTS


class Fate(Enum):
    """How an acceptable call ends; the names are those of Behaviour's shares."""

    PICTURE = "picture"
    FAULT_500 = "share_500"
    FAULT_503 = "share_503"
    FAULT_504 = "share_504"
    THROTTLED = "share_429"
    REFUSED = "share_refused"
    HANG = "share_hang"
    RESET = "share_reset"
    TRUNCATED = "share_truncated"
    MALFORMED = "share_malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """All that chance decided about one call."""

    fate: Fate
    latency_s: float
    reason_500: str
    midway: bool
    """A reset comes in the middle of the answer, not before it."""
    malformed_kind: MalformedKind
    fewer: float | None
    """Part of the pictures asked for that come, if it is not all; 0 up to 1, not included."""

    def brings(self, count: int) -> int:
        """How many pictures a good answer to a call for so many holds."""
        return count if self.fewer is None or count == 1 else 1 + int(self.fewer * (count - 1))


def draw(behaviour: Behaviour, photo_sha256: str, nth: int) -> Draw:
    """Decide the fate of the nth call with a photo, whatever other calls came in between.

    The same seed, photo and nth draw the same, so runs of different width can be compared.
    """
    chance = Random(f"{behaviour.seed}/{photo_sha256}/{nth}")
    # Drawn always and in this order: a share that is changed leaves the other draws as they were.
    point, wait, half = chance.random(), chance.random(), chance.random()
    reason, kind = chance.choice(BACK_END_FAULTS), chance.choice(MALFORMED_KINDS)
    latency_s = behaviour.latency_s * (1 + behaviour.latency_jitter * (2 * wait - 1))
    latency_s *= chance.lognormvariate(0, behaviour.latency_sigma)
    if chance.random() < behaviour.share_stalled:
        latency_s = behaviour.stall_s
    fewer, part = chance.random() < behaviour.share_fewer, chance.random()
    return Draw(
        fate=_fate(behaviour, point),
        latency_s=latency_s,
        reason_500=reason,
        midway=half < 0.5,  # noqa: PLR2004  a half, as Behaviour promises
        malformed_kind=behaviour.malformed_kind or kind,
        fewer=part if fewer else None,
    )


def _fate(behaviour: Behaviour, point: float) -> Fate:
    """The fate whose share covers `point`, the shares laid end to end from 0."""
    for fate in Fate:
        if fate is not Fate.PICTURE:
            point -= getattr(behaviour, fate.value)
            if point < 0:
                return fate
    return Fate.PICTURE
