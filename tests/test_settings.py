"""A setting is taken, or refused by name; a mistyped budget is never ignored."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.errors import UsageError
from batch_reimagine.loading import load
from batch_reimagine.provider import request_of
from batch_reimagine.settings import FIELDS, Settings, describe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def toml(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_what_the_surface_says() -> None:
    plain = load({}, {})

    assert plain == Settings()
    assert (plain.variations, plain.concurrency, plain.timeout_s) == (1, 32, 120.0)
    assert (plain.rpm, plain.type, plain.budget) == (None, None, None)


THREE = {"BATCH_REIMAGINE_VARIATIONS": "3"}


@pytest.mark.parametrize(
    ("flags", "environ", "text", "expected"),
    [
        pytest.param({}, {}, "", 1, id="default"),
        pytest.param({}, {}, "variations = 2", 2, id="file over default"),
        pytest.param({}, THREE, "variations = 2", 3, id="environment over file"),
        pytest.param(
            {"variations": 4},
            {"BATCH_REIMAGINE_VARIATIONS": "3"},
            "variations = 2",
            4,
            id="flag over all",
        ),
        pytest.param({"variations": 1}, {}, "variations = 2", 1, id="a flag that is the default"),
    ],
)
def test_the_stronger_source_wins(
    file: Path, flags: dict[str, Any], environ: dict[str, str], text: str, expected: int
) -> None:
    assert load(flags, environ, toml(file, text)).variations == expected


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("variations", "7", 7),
        ("rpm", "12.5", 12.5),
        ("price", "0.0123", Decimal("0.0123")),
        ("enterprise", "true", True),
        ("enterprise", "false", False),
        ("include", "*.png, *.jpg", ("*.png", "*.jpg")),
        ("type", "webp", "webp"),
        ("max_duration", "15m", "15m"),
    ],
)
def test_the_environment_is_read_as_the_settings_type(name: str, text: str, value: object) -> None:
    assert getattr(load({}, {f"BATCH_REIMAGINE_{name.upper()}": text}), name) == value


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("price = 0.1", "price", Decimal("0.1")),
        ('price = "0.0123"', "price", Decimal("0.0123")),
        ("rpm = 60", "rpm", 60.0),
        ('include = ["*.png"]', "include", ("*.png",)),
        ("enterprise = true", "enterprise", True),
    ],
)
def test_the_file_is_read_as_the_settings_type(
    file: Path, line: str, name: str, value: object
) -> None:
    read = getattr(load({}, {}, toml(file, line)), name)

    assert read == value
    assert type(read) is type(value)


def test_money_from_a_file_is_exact(file: Path) -> None:
    assert str(load({}, {}, toml(file, "price = 0.1")).price) == "0.1"


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"price": 0.1}, id="a float as money"),
        pytest.param({"variations": "3"}, id="a number as text"),
        pytest.param({"include": ["*.png"]}, id="a list"),
    ],
)
def test_settings_hold_what_their_types_say_or_are_refused(values: dict[str, Any]) -> None:
    try:
        made = Settings(**values)
    except UsageError:
        return
    (name,) = values

    assert isinstance(getattr(made, name), {"price": Decimal, "variations": int}.get(name, tuple))


def test_other_variables_of_the_environment_do_not_count() -> None:
    assert load({}, {"VARIATIONS": "9", "PATH": "x", "NOVITA_API_KEY": "k"}) == Settings()


@pytest.mark.parametrize(
    ("line", "suggestion"),
    [
        ("budjet = 5", "budget"),
        ("varations = 5", "variations"),
        ("max-calls = 5", "max_calls"),
        ("timeout = 5", "timeout_s"),
        ("zzzz = 5", "variations, provider"),
    ],
)
def test_an_unknown_key_is_refused_with_a_way_out(file: Path, line: str, suggestion: str) -> None:
    with pytest.raises(UsageError) as refused:
        load({}, {}, toml(file, line))

    assert line.split(maxsplit=1)[0] in str(refused.value)
    assert suggestion in str(refused.value)
    assert str(file) in str(refused.value)


def test_an_unknown_variable_is_refused_too() -> None:
    with pytest.raises(UsageError, match=r"budjet.*budget"):
        load({}, {"BATCH_REIMAGINE_BUDJET": "5"})


@pytest.mark.parametrize("name", ["key", "api_key", "novita_api_key", "apikey"])
@pytest.mark.parametrize("where", ["file", "environment"])
def test_a_key_is_no_setting_and_is_not_shown(file: Path, name: str, where: str) -> None:
    in_file = toml(file, f'{name} = "sk_secret"' if where == "file" else "")
    environ = {f"BATCH_REIMAGINE_{name.upper()}": "sk_secret"} if where != "file" else {}

    with pytest.raises(UsageError, match="NOVITA_API_KEY") as refused:
        load({}, environ, in_file)

    assert "sk_secret" not in str(refused.value)


WRONG = [
    pytest.param("variations", "0", "1", id="no variation"),
    pytest.param("variations", "10000", "9999", id="too many variations"),
    pytest.param("variations", "1.5", "int", id="half a variation"),
    pytest.param("variations", "true", "int", id="true is no number"),
    pytest.param("concurrency", "0", "1", id="no concurrency"),
    pytest.param("rpm", "0", "0", id="no start a minute"),
    pytest.param("rpm", "-1", "0", id="less than none"),
    pytest.param("rpm", "nan", "0", id="a rate that is no number"),
    pytest.param("timeout_s", "0", "0", id="no time at all"),
    pytest.param("timeout_s", "3601", "3600", id="more than an hour"),
    pytest.param("timeout_s", "nan", "0", id="a time that is no number"),
    pytest.param("retry_for_s", "nan", "0", id="a retry time that is no number"),
    pytest.param("retry_for_s", "inf", "", id="retrying for ever"),
    pytest.param("attempts", "0", "1", id="no attempt"),
    pytest.param("attempts", "101", "100", id="too many attempts"),
    pytest.param("price", "-1", "0", id="a negative price"),
    pytest.param("price", '"NaN"', "", id="a price that is no number"),
    pytest.param("price", '"Infinity"', "", id="an infinite price"),
    pytest.param("price", '"cheap"', "ecimal", id="a price in words"),
    pytest.param("max_calls", "-1", "0", id="fewer than no calls"),
    pytest.param("limit", "0", "1", id="no photo"),
    pytest.param("type", '"gif"', "webp", id="another type"),
    pytest.param("provider_option", '["x"]', "name=value", id="an option without a value"),
    pytest.param("on_unknown", '"ask"', "hold", id="another answer"),
    pytest.param("include", '"*.png"', "array", id="one pattern outside a list"),
    pytest.param("include", '[""]', "length", id="an empty pattern"),
    pytest.param("halt", '"later"', "soon,fail=10%", id="no rule"),
    pytest.param("halt", '"soon,fail=0"', "soon,fail=10%", id="a rule that always holds"),
    pytest.param("halt", '"now,fail=101%"', "soon,fail=10%", id="more than all"),
    pytest.param("max_duration", '"soon"', "1h30m", id="no length of time"),
    pytest.param("max_duration", '"-5m"', "1h30m", id="a negative time"),
    pytest.param("max_duration", '"5m3h"', "1h30m", id="units out of order"),
    pytest.param("max_duration", '" "', "1h30m", id="blank"),
    pytest.param("base_url", '"example.com"', "http", id="an address without http"),
    pytest.param("base_url", '"ftp://x"', "http", id="another protocol"),
    pytest.param("base_url", '"http://"', "http", id="no host"),
    pytest.param("base_url", '"http://u:p@h"', "user", id="a password in the address"),
    pytest.param("base_url", '"http://h/?a=b"', "query", id="a query"),
    pytest.param("base_url", '"http://h/ x"', "http", id="a space"),
    pytest.param("base_url", '"http://h\\n"', "http", id="a line end"),
]


@pytest.mark.parametrize(("name", "value", "allowed"), WRONG)
def test_a_wrong_value_is_refused_by_name_with_what_is_allowed(
    file: Path, name: str, value: str, allowed: str
) -> None:
    with pytest.raises(UsageError) as refused:
        load({}, {}, toml(file, f"{name} = {value}"))

    message = str(refused.value)
    assert name in message
    told = value.strip('"[]').lower().split("\\n")[0]
    assert re.sub("u:p|a=b", "…", told) in message.lower()  # but no password, and no query
    assert allowed in message


@pytest.mark.parametrize("value", [0, 10_000, -5])
def test_a_wrong_flag_is_refused_likewise(value: int) -> None:
    with pytest.raises(UsageError, match=f"variations.*{value}"):
        load({"variations": value}, {})


def test_the_variable_at_fault_is_named() -> None:
    with pytest.raises(UsageError, match=r"BATCH_REIMAGINE_RPM.*'fast'"):
        load({}, {"BATCH_REIMAGINE_RPM": "fast"})


def test_a_budget_needs_a_price() -> None:
    with pytest.raises(UsageError, match=r"budget.*--price"):
        Settings(budget=Decimal(5))


@pytest.mark.parametrize("price", [Decimal(0), Decimal("0.01")])
def test_a_budget_with_a_price_is_taken(price: Decimal) -> None:
    assert Settings(budget=Decimal(5), price=price).budget == 5


def test_the_price_may_come_from_elsewhere_than_the_budget(file: Path) -> None:
    both = load({"budget": Decimal(5)}, {}, toml(file, "price = 0.01"))

    assert (both.budget, both.price) == (Decimal(5), Decimal("0.01"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h30m15s", 5415),
        ("1.5h", 5400),
        ("0.5m", 30),
        (" 15m ", 900),
    ],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert Settings(max_duration=text).max_duration_s == seconds


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("soon,fail=10%", ("soon", 10.0, True)),
        ("now,fail=20", ("now", 20.0, False)),
        ("soon, fail=0.5%", ("soon", 0.5, True)),
        ("now,fail=100%", ("now", 100.0, True)),
    ],
)
def test_a_halt_rule_is_read(text: str, rule: tuple[str, float, bool]) -> None:
    assert Settings(halt=text).halt_rule == rule


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000", "https://h", "https://h/", "https://h/a/b", "http://[::1]:8000"],
)
def test_an_address_is_taken(url: str) -> None:
    assert Settings(base_url=url).base_url == url


def test_the_simulator_has_no_other_address() -> None:
    with pytest.raises(UsageError, match="simulator"):
        Settings(provider="simulator", base_url="http://h")


@pytest.mark.parametrize(
    "knobs",
    [
        {"concurrency": 1},
        {"rpm": 5.0},
        {"attempts": 9},
        {"timeout_s": 5.0},
        {"base_url": "http://h"},
        {"price": Decimal(1)},
        {"variations": 9},
        {"limit": 3},
        {"type": "png"},
    ],
    ids=lambda knobs: next(iter(knobs)),
)
def test_what_does_not_change_the_picture_does_not_change_the_request(
    knobs: dict[str, Any],
) -> None:
    assert request_of(Settings(**knobs)) == request_of(Settings())


def test_what_changes_the_picture_changes_the_request() -> None:
    kinds = [
        Settings(),
        Settings(type="webp"),
        Settings(type="jpeg"),
        Settings(enterprise=True),
        Settings(provider="simulator"),
    ]

    assert len({request_of(kind) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"variations =", "TOML", id="no TOML"),
        pytest.param(b"\xff\xfe", "TOML", id="no UTF-8"),
        pytest.param(b"[run]\nvariations = 2", "run", id="a table"),
        pytest.param(b"variations = 1\nvariations = 2", "TOML", id="a key twice"),
    ],
)
def test_a_file_that_is_no_settings_file_is_refused(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(data)

    with pytest.raises(UsageError, match=message):
        load({}, {}, file)


@pytest.mark.parametrize("name", ["none.toml", "."], ids=["missing", "a folder"])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=str(tmp_path)):
        load({}, {}, tmp_path / name)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_every_setting_is_described_in_a_sentence(name: str) -> None:
    assert describe(name).endswith(".")


def test_every_setting_of_several_values_is_a_list_in_the_environment() -> None:
    several = [name for name in FIELDS if isinstance(getattr(Settings(), name), tuple)]
    given = {f"BATCH_REIMAGINE_{name.upper()}": "a=1, b=2" for name in several}

    made = load({}, given | {"BATCH_REIMAGINE_PROVIDER": "variations"})

    assert len(several) >= 4
    assert {getattr(made, name) for name in several} == {("a=1", "b=2")}


@given(st.sampled_from(sorted(FIELDS)), st.text(max_size=12))
def test_any_text_for_any_setting_is_taken_or_is_a_usage_error(name: str, text: str) -> None:
    try:
        made = load({}, {f"BATCH_REIMAGINE_{name.upper()}": text})
    except UsageError as refused:
        message = str(refused)
    else:
        message = name
        assert isinstance(made, Settings)
    assert name in message
