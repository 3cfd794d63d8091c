"""Money is reserved before a call and settled after it; the limit holds at every moment."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.budget import Budget, Money
from batch_reimagine.errors import LimitReached

CENT = Decimal("0.01")
PRICES = st.decimals("0.0001", 10, places=4)


def reserved(budget: Budget) -> bool:
    try:
        return bool(budget.reserve())
    except LimitReached:
        return False


def test_what_may_fit_later_is_not_the_end() -> None:
    budget = Budget(CENT, CENT)
    budget.reserve()

    assert budget.reserve() == 0, "the call in flight may turn out free"
    budget.settle("free")
    assert budget.reserve() == 1


@pytest.mark.parametrize("money", ["spent", "unknown"])
def test_what_can_never_fit_is_the_end(money: Money) -> None:
    budget = Budget(CENT, CENT)
    budget.reserve()
    budget.settle(money)

    with pytest.raises(LimitReached):
        budget.reserve()


def test_a_budget_of_three_calls_allows_three() -> None:
    budget = Budget(CENT, 3 * CENT)

    assert [reserved(budget) for _ in range(5)] == [True, True, True, False, False]


def test_a_tenth_is_exact() -> None:
    budget = Budget(Decimal("0.1"), Decimal("0.3"))

    assert sum(reserved(budget) for _ in range(9)) == 3


def test_a_budget_of_nothing_allows_nothing() -> None:
    assert not reserved(Budget(CENT, Decimal(0)))


def test_what_is_free_can_be_had_without_end() -> None:
    budget = Budget(Decimal(0), Decimal(0))

    assert all(reserved(budget) for _ in range(100))


@pytest.mark.parametrize(("money", "left"), [("spent", 1), ("unknown", 1), ("free", 2)])
def test_a_call_that_may_have_been_paid_counts_like_one_that_was(money: Money, left: int) -> None:
    budget = Budget(CENT, 2 * CENT)
    budget.reserve()
    budget.settle(money)

    assert sum(reserved(budget) for _ in range(5)) == left


def test_earlier_runs_count() -> None:
    budget = Budget(CENT, 10 * CENT, spent=7 * CENT, at_risk=2 * CENT)

    assert sum(reserved(budget) for _ in range(5)) == 1


def test_a_budget_below_what_was_spent_allows_nothing() -> None:
    assert not reserved(Budget(CENT, CENT, spent=Decimal(5)))


def test_without_a_price_nothing_is_summed() -> None:
    budget = Budget(None, None)
    for _ in range(3):
        budget.reserve()
        budget.settle("spent")

    assert (budget.spent, budget.calls) == (Decimal(0), 3)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_no_more_calls_than_allowed_are_begun(most: int) -> None:
    budget = Budget(None, None, max_calls=most)
    begun = 0
    for _ in range(10):
        if reserved(budget):
            begun += 1
            budget.settle("free")

    assert begun == most


def test_a_call_that_was_never_begun_gives_all_back() -> None:
    budget = Budget(CENT, CENT, max_calls=1)
    budget.reserve()
    budget.cancel()

    assert reserved(budget)
    assert budget.calls == 1


def test_a_refused_reservation_changes_nothing() -> None:
    budget = Budget(CENT, CENT)
    budget.reserve()
    before = (budget.spent, budget.at_risk, budget.reserved, budget.calls)

    assert not reserved(budget)
    assert (budget.spent, budget.at_risk, budget.reserved, budget.calls) == before


def test_the_refusal_says_what_is_left_and_the_way_out() -> None:
    budget = Budget(Decimal("0.3"), Decimal(1), spent=Decimal("0.6"), at_risk=Decimal("0.2"))

    with pytest.raises(LimitReached, match=r"budget of 1 .*0\.6 spent.*0\.2 .*0\.3.*--budget"):
        budget.reserve()


@given(
    price=PRICES,
    limit=st.decimals(0, 50, places=4),
    spent=st.decimals(0, 20, places=4),
    at_risk=st.decimals(0, 20, places=4),
    steps=st.lists(st.sampled_from(["reserve", "spent", "free", "unknown", "cancel"]), max_size=80),
)
def test_no_order_of_events_overdraws(
    price: Decimal, limit: Decimal, spent: Decimal, at_risk: Decimal, steps: list[str]
) -> None:
    budget = Budget(price, limit, spent=spent, at_risk=at_risk)
    in_flight, begun = 0, 0
    most = max(limit, spent + at_risk)
    for step in steps:
        if step == "reserve":
            if reserved(budget):
                in_flight, begun = in_flight + 1, begun + 1
        elif in_flight and step == "cancel":
            budget.cancel()
            in_flight, begun = in_flight - 1, begun - 1
        elif in_flight:
            budget.settle(step)  # type: ignore[arg-type]
            in_flight -= 1

        assert budget.spent + budget.at_risk + budget.reserved <= most
        assert budget.reserved == in_flight * price
        assert budget.calls == begun


@given(PRICES, st.decimals(0, 50, places=4))
def test_the_limit_is_used_to_the_last_call_that_it_pays(price: Decimal, limit: Decimal) -> None:
    budget = Budget(price, limit)
    calls = 0
    while calls < 2000 and reserved(budget):
        budget.settle("spent")
        calls += 1

    assert calls == min(2000, limit // price)
