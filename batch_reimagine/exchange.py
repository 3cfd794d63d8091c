"""One request and its answer: sent once, read bounded, judged.

Never raises for what a server does: that is an Answer too.
"""

from dataclasses import dataclass, replace

import aiohttp
import anyio
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from batch_reimagine.deadline import Deadlines
from batch_reimagine.provider.contract import Action, Provider, Verdict
from batch_reimagine.retry_after import retry_after_s
from batch_reimagine.secret import Secret

MAX_ANSWER_BYTES = 32_000_000  # a picture: base64 of a PNG of 2048 x 2048 with noise in every pixel
MAX_HELD_BYTES = 256_000_000  # of all answers that are being read; beyond it one at a time is
_SMALL_CHUNK_BYTES = 4096
MAX_WORD = 80  # characters of a server's reason or task id
NOT_REACHED = "NOT_REACHED"  #: our reason for a request that never left
NODE_LOST = "NODE_LOST"  #: our reason for one whose machine was lost before it could tell


class Body(Payload):
    """A request body of few byte parts that may be sent again, and is never copied together."""

    def __init__(self, parts: tuple[bytes, ...], content_type: str) -> None:
        super().__init__(parts, content_type=content_type)
        self._size = sum(map(len, parts))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for part in self._value:
            await writer.write(part)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. The server's words in it are safe to show and to store."""

    status: int | None  #: None: no answer came
    verdict: Verdict
    retry_after_s: float | None = None


class Exchange:
    """Where requests go to, and how. One for a run.

    timeout_s: of one request, connect to last byte; time in which this process
    did not run is not counted.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        provider: Provider,
        key: Secret,
        *,
        base_url: str,
        timeout_s: float,
        deadlines: Deadlines,
    ) -> None:
        self.url = base_url.rstrip("/") + provider.path
        self._session = session
        self._provider = provider
        self._key = key
        self._timeout_s = timeout_s
        self._deadlines = deadlines
        self._held = 0  # bytes of answers that are being read, all together
        self._turn = anyio.Lock()  # to read on when that is too much

    async def post(self, body: Body, pictures: int = 1) -> Answer:
        """Send once. A redirect is not followed, a lost connection not tried again.

        pictures: that are asked for; the answer may be as large as that makes likely.
        """
        answer = await self._judged_post(body, min(pictures * MAX_ANSWER_BYTES, MAX_HELD_BYTES))
        return replace(answer, verdict=self._safe(answer.verdict))

    def incomplete(self, answer: Answer, why: str) -> Answer:
        """The same answer, after its picture was found to be none."""
        task_id = answer.verdict.task_id
        verdict = Verdict(Action.RETRY, "MALFORMED_ANSWER", why, task_id=task_id)
        return replace(answer, verdict=self._safe(verdict))

    async def _judged_post(self, body: Body, most_bytes: int) -> Answer:
        headers = self._provider.authorization(self._key.reveal()) if self._key else {}
        try:
            with self._deadlines.within(self._timeout_s):
                async with self._session.post(
                    self.url, data=body, headers=headers, allow_redirects=False
                ) as response:
                    return await self._judged(response, most_bytes)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Answer(None, Verdict(Action.RETRY, NOT_REACHED, _one_line(error)))
        except TimeoutError:
            message = f"no whole answer within {self._timeout_s:g} s"
            return Answer(None, Verdict(Action.RETRY, "TIMEOUT", message))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Answer(None, Verdict(Action.RETRY, "BROKEN_CONNECTION", _one_line(error)))

    async def _judged(self, response: aiohttp.ClientResponse, most_bytes: int) -> Answer:
        """Read to the end, or to more than any answer may have."""
        chunks: list[bytes | bytearray] = []
        size = 0
        turn = False
        try:
            async for chunk in response.content.iter_any():
                if len(chunk) >= _SMALL_CHUNK_BYTES:
                    chunks.append(chunk)
                elif chunks and isinstance(chunks[-1], bytearray):
                    chunks[-1] += chunk  # a server that drips must not make millions of objects
                else:
                    chunks.append(bytearray(chunk))
                size += len(chunk)
                self._held += len(chunk)
                if self._held > MAX_HELD_BYTES and not turn:
                    await self._turn.acquire()  # the server waits: nobody takes what it sends
                    turn = True
                if size > most_bytes:
                    response.close()
                    message = "an answer of more bytes than any picture has"
                    verdict = Verdict(Action.RETRY, "OVERSIZED_ANSWER", message)
                    return Answer(response.status, verdict)
            content = b"".join(chunks)
            chunks.clear()
            verdict = self._provider.judge(response.status, response.headers, content)
            return Answer(response.status, verdict, retry_after_s(response.headers))
        finally:
            self._held -= size
            if turn:
                self._turn.release()

    def _safe(self, verdict: Verdict) -> Verdict:
        """The same verdict; the server's words in it bounded, on one line and without the key."""
        redact = self._key.redact
        return replace(
            verdict,
            reason=verdict.reason and redact(verdict.reason)[:MAX_WORD],
            message=verdict.message and redact(verdict.message),
            task_id=verdict.task_id and redact(verdict.task_id)[:MAX_WORD],
        )


def _one_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).replace("\n", " ")
