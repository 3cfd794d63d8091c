"""Making a call's answer, whole, before any of it is sent; the pictures in worker threads."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from PIL import Image, ImageOps

from batch_reimagine.cores import CORES
from batch_reimagine.simulator import answers
from batch_reimagine.simulator.answers import Answer
from batch_reimagine.simulator.behaviour import Behaviour
from batch_reimagine.simulator.contract import Ask, Contract
from batch_reimagine.simulator.faults import Draw, Fate
from batch_reimagine.simulator.log import Call, Ledger
from batch_reimagine.simulator.pictures import encode, vary
from batch_reimagine.simulator.reasons import Refusal
from batch_reimagine.simulator.sending import hang

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Order:
    """One call, read and accepted."""

    contract: Contract
    ask: Ask
    photo: Image.Image
    call: Call
    left: int
    """What the account can pay after it."""


class Maker:
    """Makes what is asked for; what is drawn by chance decides how it goes wrong."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._threads = ThreadPoolExecutor(CORES, "simulator")

    async def aclose(self) -> None:
        # shutdown() waits for the picture that a thread may still be making: not on the loop.
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def in_thread(self, work: Callable[..., _T], *args: object) -> _T:
        """Do CPU-bound work off the loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

    async def make(self, behaviour: Behaviour, order: Order, drawn: Draw) -> Answer:
        """Make the whole answer that the fate asks for, or raise Refusal; a hang never returns."""
        ask, task_id = order.ask, order.call.task_id or ""
        if ask.photo_sha256.startswith(behaviour.refuse_photo):
            raise Refusal(behaviour.reason_refused, field="image_file")
        if ask.photo_sha256.startswith(behaviour.fail_photo):
            raise Refusal("TASK_FAILED", task_id=task_id)
        match drawn.fate:
            case Fate.FAULT_500:
                raise Refusal(drawn.reason_500, task_id=task_id)
            case Fate.FAULT_503:
                raise Refusal("SERVICE_NOT_AVAILABLE")
            case Fate.FAULT_504:
                return answers.gateway_timeout()
            case Fate.THROTTLED:
                raise Refusal("RATE_LIMIT_EXCEEDED")
            case Fate.REFUSED:
                raise Refusal(behaviour.reason_refused, field="image_file")
            case Fate.HANG:
                return await hang(order.call)
            case Fate.MALFORMED:
                return await self.in_thread(malformed, order, drawn.malformed_kind)
            case _:
                # Only pictures that are meant to arrive take the next recipes.
                whole, count = drawn.fate is Fate.PICTURE, order.call.pictures
                begun = self._ledger.next_pictures(ask.photo_sha256, count) if whole else [0]
                return await self.in_thread(_paint, order, begun, behaviour)


def _paint(order: Order, begun: Sequence[int], behaviour: Behaviour) -> Answer:
    """200 with the photo's pictures of these numbers."""
    ask, task_id = order.ask, order.call.task_id or ""
    made = []
    for nth in begun:
        chance = Random(f"{behaviour.seed}/{ask.photo_sha256}/{nth}/picture")
        image = vary(order.photo, nth, chance)
        if ask.size is not None and behaviour.picture_px is None:
            image = ImageOps.fit(image, ask.size)
        name = task_id if len(begun) == 1 else f"{task_id}/{nth}"
        made.append(encode(image, ask.image_type, name))
    return order.contract.success(made, ask, task_id, order.left)


def malformed(order: Order, kind: str) -> Answer:
    """200 with anything but a picture; the photo itself stands in for it."""
    contract, ask, task_id = order.contract, order.ask, order.call.task_id or ""
    if kind == "html":
        return answers.welcome()
    whole = encode(order.photo, ask.image_type, task_id)
    if kind == "half_picture":
        whole = whole[: len(whole) // 2]
    good = contract.success([whole], ask, task_id, order.left, spoilt=kind == "bad_base64")
    bad = replace(good, outcome="malformed")
    match kind:
        case "no_image":
            # Seen in the wild: an error that calls itself a success.
            error = Refusal("TASK_FAILED", task_id=task_id)
            body = answers.refusal(error, None, contract.words).body
            return replace(bad, body=body, content_type="application/json")
        case "not_json":
            return replace(bad, body=good.body[:-2])
        case "empty":
            return replace(bad, body=b"")
        case _:
            return bad
