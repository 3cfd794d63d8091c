"""How plans, counts and times are put into words."""

from collections.abc import Mapping

from batch_reimagine.settings import Settings
from batch_reimagine.work import Plan


def plan_lines(plan: Plan, settings: Settings) -> list[str]:
    """The plan in a line or two."""
    least = "" if plan.complete else "at least "
    wanted = plan.photos * plan.variations
    lines = [
        f"plan: {least}{plan.photos:,} photos × {plan.variations} = {wanted:,} variations;"
        f" {least}{plan.here:,} already here, {least}{plan.to_make:,} to make"
    ]
    if plan.held:
        lines[0] += f", {plan.held:,} held (may have been paid)"
    if plan.copies:
        lines[0] += f", {plan.copies:,} to copy from the same photo"
    if plan.failed_before:
        lines[0] += f"; {plan.failed_before:,} photos refused earlier (--retry-failed)"
    if plan.price is None:
        lines[0] += "; price not known (--price)"
    elif settings.price is not None:
        lines[0] += f"; {settings.price * plan.to_make} if no call fails"
    if plan.skipped:
        lines.append("passed over: " + grouped(plan.skipped))
    return lines


def grouped(counts: Mapping[str, int]) -> str:
    """Counts by reason, the most first."""
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {what}" for what, count in most_first)
