"""The services that make pictures: pure functions that build a request and judge an answer.

Nothing here opens a socket, sleeps, retries or logs. A provider is a value of
`Provider`; adding one is a module beside `novita` and a line in `PROVIDERS`.
"""

from dataclasses import replace

from batch_reimagine.provider import novita
from batch_reimagine.provider.contract import Provider

PROVIDERS: dict[str, Provider] = {
    "novita": novita.PROVIDER,
    # The simulator is another reading of the same contract, on this machine.
    "simulator": replace(novita.PROVIDER, system="batch_reimagine simulator (no AI)"),
}
