"""The one function that makes an answer's times, by the strictest of the programmes (standards §1.8)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from responder.pki import (
    decode_serial,
    encode_serial,
    epoch_seconds,
    from_epoch_seconds,
    refresh_due,
    response_times,
)

AS_OF = datetime(2026, 6, 1, 12, 0, 0, 654321, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)

validities = st.integers(8 * 3600 - 1, 7 * 86400 - 1).map(lambda seconds: timedelta(seconds=seconds))
instants = st.datetimes(datetime(1971, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC))


@given(
    as_of=instants,
    validity=validities,
    refresh=st.timedeltas(SECOND, timedelta(days=7)),
    backdate=st.timedeltas(timedelta(0), HOUR),
    left=st.timedeltas(SECOND, timedelta(days=30)),
)
def test_times_keep_every_bound(
    as_of: datetime, validity: timedelta, refresh: timedelta, backdate: timedelta, left: timedelta
) -> None:
    not_after = as_of + left
    times = response_times(as_of, validity=validity, refresh=refresh, backdate=backdate, not_after=[not_after])
    assert times.this_update <= as_of, "never in the future"
    assert as_of - times.this_update < backdate + SECOND
    assert times.this_update.microsecond == times.next_update.microsecond == 0
    assert times.next_update <= not_after
    assert times.next_update - times.this_update + SECOND <= timedelta(days=7), "counted inclusively"
    due = times.refresh_at - times.this_update
    span = times.next_update - times.this_update
    assert due <= max(span / 2, timedelta(0))
    assert due <= refresh
    assert due <= timedelta(days=4)
    if span >= 16 * HOUR:
        assert times.next_update - times.refresh_at >= 8 * HOUR


def test_a_whole_answer_lives_exactly_its_validity() -> None:
    times = response_times(
        AS_OF, validity=4 * 24 * HOUR, refresh=36 * HOUR, backdate=timedelta(minutes=5), not_after=[]
    )
    assert times.this_update == datetime(2026, 6, 1, 11, 55, tzinfo=UTC)
    assert times.next_update == datetime(2026, 6, 5, 11, 55, tzinfo=UTC)
    assert times.refresh_at == datetime(2026, 6, 2, 23, 55, tzinfo=UTC)


def test_the_refresh_of_an_answer_cut_short_by_its_signer_is_sooner() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    assert refresh_due(start, start + 10 * HOUR, 36 * HOUR) == start + 5 * HOUR
    assert refresh_due(start, start + 17 * HOUR, 36 * HOUR) == start + timedelta(hours=8.5)
    assert refresh_due(start, start, 36 * HOUR) == start


@given(instants)
def test_seconds_and_moments_agree(moment: datetime) -> None:
    assert from_epoch_seconds(epoch_seconds(moment)) == moment.replace(microsecond=0)


@given(st.integers(-(2**200), 2**200))
def test_serials_are_minimal_twos_complement(number: int) -> None:
    octets = encode_serial(number)
    assert decode_serial(octets) == number
    assert len(octets) == 1 or decode_serial(octets[1:]) != number, "no shorter form says the same"
