"""One task of a workflow: make what is missing, and say whether trying again can help.

It needs no scheduler. In Prefect 3:

    def again(task, run, state):
        return worth_a_retry(state.result(raise_on_failure=False))

    make = task(make_variations, retries=5, retry_delay_seconds=600, retry_condition_fn=again)

In Airflow, inside a task with `retries=5, retry_delay=timedelta(minutes=10)`:

    try:
        return make_variations(photos, out, variations=4, key=key)
    except ReimagineError as error:
        if not worth_a_retry(error):
            raise AirflowFailException(str(error)) from error  # fails without a retry
        raise

cron: `*/30 * * * * python flow.py photos out`. A task that is killed, retried or run twice buys
nothing twice: the output knows what is in it, and only one run may write to it.
"""

import os
import sys
from typing import Any

from batch_reimagine import (
    OutputBusy,
    ReimagineError,
    ServiceGone,
    Settings,
    Summary,
    reimagine_sync,
)


def make_variations(
    photos: str, out: str, *, key: str = "", **settings: Any
) -> dict[str, int | str | None]:
    """Make what is missing in out; return figures that a scheduler can keep and compare.

    Raises ReimagineError; `worth_a_retry` says whether the scheduler should try again.
    """
    ends: list[Summary] = []
    run = reimagine_sync(
        photos,
        out,
        Settings(**settings),
        key=key,
        on_event=lambda event: ends.append(event) if isinstance(event, Summary) else None,
    )
    with run:  # also when the scheduler ends the task by an exception: calls in flight are kept
        for _ in run:
            pass
    counts = ends[0].progress
    return {
        "run": ends[0].run,
        "photos": counts.photos,
        "made": counts.made,
        "already_here": counts.here,
        "refused": counts.rejected + counts.failed_before,
        "given_up": counts.exhausted,
        "spent": counts.spent,
    }


def worth_a_retry(error: BaseException) -> bool:
    """Whether the same call may succeed later by itself, without anybody's doing.

    No service, or an output in use: yes, as often as the scheduler's own bound has it. No key,
    no money, a full disk, a wrong setting, a budget that is used up: somebody must act first.
    """
    return isinstance(error, ServiceGone | OutputBusy)


if __name__ == "__main__":
    try:
        print(make_variations(*sys.argv[1:3], key=os.environ.get("NOVITA_API_KEY", "")))
    except ReimagineError as error:
        sys.exit(f"{error} ({'try again later' if worth_a_retry(error) else 'see to it first'})")
