"""Wrong tokens are limited by client."""

from __future__ import annotations

from responder.web.guesses import _CLIENTS, AT_ONCE, SECONDS_EACH, WrongTokens


class Seconds:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_some_at_once_and_then_one_every_few_seconds() -> None:
    seconds = Seconds()
    wrong = WrongTokens(clock=seconds)
    for _ in range(AT_ONCE):
        assert wrong.wait("one") == 0
        wrong.count("one")
    assert wrong.wait("one") == SECONDS_EACH
    assert wrong.wait("other") == 0
    seconds.now += SECONDS_EACH
    assert wrong.wait("one") == 0
    wrong.count("one")
    assert wrong.wait("one") == SECONDS_EACH
    seconds.now += AT_ONCE * SECONDS_EACH
    for _ in range(AT_ONCE):
        assert wrong.wait("one") == 0
        wrong.count("one")
    assert wrong.wait("one") == SECONDS_EACH


def test_many_clients_take_no_more_room_and_the_worst_is_remembered() -> None:
    seconds = Seconds()
    wrong = WrongTokens(clock=seconds)
    for _ in range(2 * AT_ONCE):
        wrong.count("worst")
    for number in range(3 * _CLIENTS):
        wrong.count(f"client {number}")
        assert len(wrong._spent_until) <= _CLIENTS
    assert wrong.wait("worst") > 0
