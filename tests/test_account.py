"""What a service is asked about an account, and how its answers are read."""

import base64
import json
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.account import Account, NotTold
from batch_reimagine.errors import AccountRefused, ServiceGone
from batch_reimagine.provider.billing import NOVITA, Charge, Funds
from batch_reimagine.provider.contract import Action
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.simulator import Behaviour, serve
from tests.support import KEY, error, hang, jpeg, scripted

HOUR = 3600
NOON = 1_790_000_000 // HOUR * HOUR  # a whole hour
BALANCE = {"availableBalance": "123456", "cashBalance": "0", "creditLimit": "0"}


def account(url: str, key: str = KEY, *, timeout_s: float = 5.0, **settings: Any) -> Account:
    return Account(Settings(base_url=url, **settings), Secret(key), timeout_s=timeout_s)


def line(**fields: Any) -> dict[str, Any]:
    return {
        "startTime": str(NOON), "endTime": str(NOON + 3599), "productName": "Reimagine",
        "billNum0": "3", "amount": "300",
    } | fields  # fmt: skip


async def test_the_balance_is_read_in_ten_thousandths_and_the_key_stays_in_its_header() -> None:
    async with scripted((200, BALANCE), gets=True) as api:
        assert await account(api.url).funds() == Funds(Decimal("12.3456"), "USD")

    (seen,) = api.seen
    assert seen.path == "/openapi/v1/billing/balance/detail"
    assert [name for name, value in seen.headers.items() if KEY in value] == ["Authorization"]
    assert KEY not in seen.path
    assert seen.body == b""


@pytest.mark.parametrize(
    ("answer", "raises", "says"),
    [
        pytest.param(error(403, "INVALID_API_KEY"), AccountRefused, "INVALID_API_KEY", id="key"),
        pytest.param(error(429, "ANONYMOUS_ACCESS_QUOTA_EXCEEDS"), AccountRefused, "ANON", id="no"),
        pytest.param(error(404, "API_NOT_FOUND"), NotTold, "404", id="a server without one"),
        pytest.param((500, b""), ServiceGone, "HTTP_500", id="a fault"),
        pytest.param((302, b""), ServiceGone, "redirect", id="a redirect is not followed"),
        pytest.param((200, b"<html>"), NotTold, "no JSON", id="a page"),
        pytest.param((200, {"availableBalance": "NaN"}), NotTold, "no number", id="no number"),
        pytest.param((200, []), NotTold, "no object", id="no object"),
        pytest.param((200, b"[" * 100_000), NotTold, "no JSON", id="deep"),
        pytest.param((200, b"x" * 16_000_001), ServiceGone, "more bytes", id="endless"),
    ],
)
async def test_an_answer_that_is_no_balance_says_who_must_act(
    answer: tuple[int, Any], raises: type[Exception], says: str
) -> None:
    async with scripted(answer, headers={"Location": "/elsewhere"}, gets=True) as api:
        with pytest.raises(raises, match=says) as raised:
            await account(api.url).funds()

    assert type(raised.value) is raises
    assert len(api.seen) == 1


async def test_words_of_the_service_never_show_the_key() -> None:
    echo = error(403, "INVALID_API_KEY", f"no such key: {KEY}")
    async with scripted(echo, echo, gets=True) as api:
        asked = account(api.url)
        with pytest.raises(AccountRefused) as raised:
            await asked.funds()
        _, verdict = await asked.knock()

    assert verdict is not None
    assert KEY not in str(raised.value) + asked.words(verdict)


async def test_a_bill_shows_neither_the_key_nor_more_of_a_name_than_fits() -> None:
    names = [f"reimagine {KEY}", "reimagine " + "A" * 1_000_000, "reimagine \x1b[31m\nred"]
    bills = {"bills": [line(productName=name) for name in names]}
    async with scripted((200, bills), gets=True) as api:
        charges = await account(api.url).charges(NOON, NOON + HOUR)

    told = [charge.product for charge in charges]
    assert len(told) == 3
    assert all(name.startswith("reimagine") and len(name) <= 300 for name in told)
    assert not any(KEY[:12] in name or not name.isprintable() for name in told)


async def test_a_service_that_does_not_answer_is_given_up_in_time() -> None:
    async with scripted(hang, gets=True) as api:
        began = time.monotonic()
        with pytest.raises(ServiceGone, match=r"no answer within 0\.2 s"):
            await account(api.url, timeout_s=0.2).funds()
    assert time.monotonic() - began < 2
    with pytest.raises(ServiceGone, match="cannot be reached"):
        await account("http://127.0.0.1:9").funds()


async def test_a_connection_cut_off_in_the_answer_is_no_balance() -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "500"})
        await response.prepare(request)
        await response.write(b'{"availableBalance":')
        assert request.transport is not None
        request.transport.abort()
        return response

    async with scripted(cut, gets=True) as api:
        with pytest.raises(ServiceGone, match="cannot be reached"):
            await account(api.url).funds()


async def test_a_call_without_a_photo_shows_who_is_there_and_buys_nothing() -> None:
    async with serve(Behaviour(api_key=KEY)) as service:
        reply, right = await account(service.url).knock()
        _, wrong = await account(service.url, key="another").knock()
        _, none = await account(service.url, key="").knock()
        stats = service.stats()

    assert right is not None
    assert wrong is not None
    assert none is not None
    assert right.action is Action.REJECT
    assert (wrong.action, wrong.reason) == (Action.STOP_ACCOUNT, "INVALID_API_KEY")
    assert (none.action, none.reason) == (Action.STOP_ACCOUNT, "MISSING_API_KEY")
    assert reply.ahead_s is not None
    assert abs(reply.ahead_s) < 5
    assert stats["paid"] == 0


async def test_where_a_call_may_cost_only_the_host_is_looked_at_without_the_key() -> None:
    async with scripted((200, b""), gets=True) as api:
        asked = account(api.url)
        asked.provider = replace(asked.provider, knocks=False)
        _, verdict = await asked.knock()

    (seen,) = api.seen
    assert (seen.path, seen.body, verdict) == ("/", b"", None)
    assert not [name for name, value in seen.headers.items() if KEY in value]


async def test_the_bill_of_the_simulator_holds_what_was_made_lost_or_not() -> None:
    """Through our own reading of the vendor's page, which shares no code with the simulator's."""
    now = int(time.time()) // HOUR * HOUR
    async with serve(Behaviour(api_key=KEY, share_truncated=0.5, seed=3)) as service:
        paid, lost = await _post(service.url, 12)
        charges = await account(service.url).charges(now - HOUR, now + 2 * HOUR)
        before = await account(service.url).charges(now - 40 * HOUR, now - HOUR)
        with pytest.raises(AccountRefused):
            await account(service.url, key="another").charges(now, now + HOUR)

    assert paid
    assert lost
    assert sum(charge.units or 0 for charge in charges) == paid + lost == 12
    assert sum(charge.amount for charge in charges) == Decimal("0.12")
    assert {charge.ended - charge.began for charge in charges} == {HOUR}
    assert before == []


async def _post(url: str, count: int) -> tuple[int, int]:
    """Send so many photos; how many pictures came, and how many answers were cut short."""
    came = 0
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as session:
        for number in range(count):
            body = {"image_file": base64.b64encode(jpeg(number)).decode()}
            try:
                async with session.post(f"{url}/v3/reimagine", json=body) as response:
                    await response.read()
                    came += 1
            except aiohttp.ClientPayloadError:
                continue
    return came, count - came


async def test_a_long_bill_is_asked_in_windows_that_the_vendor_takes_without_a_gap() -> None:
    windows: list[tuple[int, int]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert dict(request.query).keys() == {
            "cycleType", "productCategory", "startTime", "endTime"
        }  # fmt: skip
        start, end = int(request.query["startTime"]), int(request.query["endTime"])
        windows.append((start, end))
        return web.json_response({"bills": [line(startTime=str(start), endTime=str(start + 3599))]})

    ended = NOON + 17 * 86_400
    async with scripted(*[answer] * 3, gets=True) as api:
        charges = await account(api.url).charges(NOON, ended)

    assert windows[0][0] == NOON
    assert windows[-1][1] == ended - 1
    assert all(end + 1 == start for (_, end), (start, _) in pairwise(windows))
    assert all(end - start < 7 * 86_400 for start, end in windows)
    assert len(charges) == len(windows) == 3


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"bills": []}, [], id="empty"),
        pytest.param({"bills": None}, [], id="null"),
        pytest.param(
            {"bills": [line()]},
            [Charge(NOON, NOON + HOUR, "Reimagine", 3, Decimal("0.03"))],
            id="as documented",
        ),
        pytest.param(
            {"bills": [line(billNum0="1.5", amount=7, extra={"new": 1})]},
            [Charge(NOON, NOON + HOUR, "Reimagine", None, Decimal("0.0007"))],
            id="numbers, fractions and new fields",
        ),
    ],
)
def test_lines_of_a_bill_are_read(body: object, expected: list[Charge]) -> None:
    assert NOVITA.charges(msgspec.json.encode(body)) == expected


@pytest.mark.parametrize(
    "body", [b'{"bills":[{}]}', b'{"bills":3}', b'{"bills":[3]}', b'{"code":500,"reason":"X"}']
)
def test_a_body_that_is_no_bill_is_never_taken_for_an_empty_one(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"bills|object|number"):
        NOVITA.charges(body)


@pytest.mark.parametrize(
    "figure",
    [
        *("1e-900000", "1e5", "\u0661\u0662", "1_0_0", " 1", "+1", "1.", "1" * 16, "0." + "1" * 10),
        *(True, 1e300, 10**400, None, [], "NaN", "Infinity", ""),
    ],
)
def test_a_figure_that_no_vendor_writes_is_none(figure: object) -> None:
    for read, body in (
        (NOVITA.funds, {"availableBalance": figure}),
        (NOVITA.charges, {"bills": [line(amount=figure)]}),
    ):
        with pytest.raises(ValueError, match=r"is no number|no JSON"):
            read(json.dumps(body).encode())


@pytest.mark.parametrize(
    "fields",
    [{"endTime": "999999999999999"}, {"startTime": "-999999999999999"}, {"startTime": "7200"}],
)
def test_a_line_of_a_time_without_calls_is_no_line_of_a_bill(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is no time of a call"):
        NOVITA.charges(msgspec.json.encode({"bills": [line(**fields)]}))


def test_fewer_than_no_pictures_are_no_number() -> None:
    (charge,) = NOVITA.charges(msgspec.json.encode({"bills": [line(billNum0="-5")]}))

    assert charge.units is None


@given(st.binary())
def test_hostile_bytes_raise_nothing_but_value_errors(body: bytes) -> None:
    for read in (NOVITA.charges, NOVITA.funds):
        with suppress(ValueError):
            read(body)


@given(st.text() | st.integers() | st.floats() | st.none() | st.lists(st.none()))
def test_an_amount_is_a_number_of_a_size_that_money_has_or_refused(value: object) -> None:
    try:
        funds = NOVITA.funds(msgspec.json.encode({"availableBalance": value}))
    except ValueError:
        return
    assert funds.available.is_finite()
    assert abs(funds.available) <= 10**11


@pytest.mark.parametrize("cycle", ["Hour", "Day", "Week"])
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"productCategory": ""}, "productCategory"),
        ({"startTime": "soon"}, "startTime"),
        ({"endTime": "-1"}, "endTime"),
        ({"endTime": "99999999"}, "spans more"),
        ({"cycleType": "Minute"}, "cycleType"),
    ],
)
async def test_the_simulated_bill_refuses_what_the_vendor_would(
    cycle: str, query: dict[str, str], says: str
) -> None:
    asked = {"cycleType": cycle, "productCategory": "gen_api", "startTime": "0", "endTime": "9"}
    async with (
        serve(Behaviour()) as service,
        aiohttp.ClientSession(headers={"Authorization": KEY}) as session,
        session.get(
            f"{service.url}/openapi/v1/billing/bill/list", params=asked | query
        ) as response,
    ):
        assert response.status == 400
        assert says in (await response.json())["message"]
