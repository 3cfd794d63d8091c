"""How far a run is: from its counts alone, for its bar, its line and its events alike."""

from dataclasses import dataclass
from decimal import Decimal

from batch_reimagine.settings import Settings
from batch_reimagine.work import Progress


@dataclass(frozen=True, slots=True)
class HowFar:
    """Variations, and what follows from their pace in this session."""

    done: int  #: settled: here, made, copied, held, given up, or of a photo that was refused
    total: int | None  #: None until the listing is complete
    per_s: float  #: made a second
    left_s: float | None  #: estimate to the end; None: not known
    spent_at_end: Decimal | None  #: if nothing fails from here on; None: not known

    @property
    def left(self) -> int:
        """Still to be made, as far as is known."""
        return max(0, (self.total or 0) - self.done)


def how_far(progress: Progress, settings: Settings, *, began_s: float, now_s: float) -> HowFar:
    """Reckon it. began_s, now_s: of the monotonic clock."""
    photos, n = progress.photos_total, settings.variations
    total = None if photos is None else photos * n
    done = progress.here + progress.made + progress.copied + progress.held + progress.exhausted
    done += (progress.rejected + progress.failed_before) * n
    done = done if total is None else min(done, total)
    elapsed_s = now_s - began_s
    per_s = progress.made / elapsed_s if elapsed_s > 0 else 0.0
    at_end = None
    if total is not None and progress.spent is not None and settings.price is not None:
        at_end = Decimal(progress.spent) + (total - done) * settings.price
    pause_s = max(0.0, progress.paused_until - now_s)
    left_s = None if total is None else _left_s(total - done, per_s, progress.per_minute, pause_s)
    return HowFar(done, total, per_s, left_s, at_end)


def _left_s(count: int, per_s: float, per_minute: float | None, pause_s: float) -> float | None:
    """By the session's rate, or the limit that is known by now; None before the first picture."""
    if not count:
        return 0.0
    if not per_s:
        return None
    limited_s = count * 60.0 / per_minute if per_minute else 0.0
    return max(count / per_s, limited_s) + pause_s


def words(progress: Progress, far: HowFar) -> list[str]:
    """What people are told of it, part by part."""
    done, total, per_s = far.done, far.total, far.per_s
    parts = [f"{done:,} (still listing)" if total is None else f"{done:,}/{total:,}"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.retrying:
        parts.append(f"{progress.retrying:,} retrying")
    if progress.in_flight or progress.retrying:
        parts.append(f"{progress.in_flight:,} in flight")
    if per_s:
        parts.append(f"{per_s:.1f}/s" if per_s >= 1 else f"{per_s * 60:.1f}/min")
    if far.left_s:
        parts.append(f"{clock(far.left_s)} left")
    if progress.spent is not None:
        parts.append(f"spent {progress.spent}, not known {progress.at_risk}")
    if far.spent_at_end is not None and far.left:
        parts.append(f"{far.spent_at_end} at the end")
    if progress.credits_left is not None:
        parts.append(f"{progress.credits_left:,} credits left")
    return parts


def clock(seconds: float) -> str:
    """1:02:03, or 2:03, or 3.4 s."""
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
