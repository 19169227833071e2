"""The host's calendar, against a walk over every single step; and signals as requests."""

import signal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_jax.runs.interrupts import Interrupted, Interrupts
from lstm_jax.training.calendar import Calendar

calendars = st.builds(
    lambda lengths, eval_every, save_every, per_call: Calendar(
        np.cumsum(lengths), eval_every, save_every, per_call
    ),
    st.lists(st.integers(1, 13), min_size=1, max_size=5),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(1, 20),
)


def stops(calendar: Calendar, step: int = 0) -> list[int]:
    """Every stop after `step`; fails where they do not move on."""
    found = []
    while step < calendar.total:
        following = calendar.next_stop(step)
        assert step < following <= calendar.total
        assert following - step <= calendar.steps_per_call
        found.append(step := following)
    return found


@settings(max_examples=60, deadline=None)
@given(calendars)
def test_stops_rise_to_the_total_and_skip_no_event(calendar):
    found = stops(calendar)
    assert found[-1] == calendar.total
    for step in range(1, calendar.total + 1):
        if calendar.evaluation_due(step) or calendar.save_due(step) or step in calendar.epoch_ends:
            assert step in found


@settings(max_examples=60, deadline=None)
@given(calendars, st.data())
def test_a_resumed_run_makes_the_same_stops(calendar, data):
    found = stops(calendar)
    step = data.draw(st.sampled_from(found))
    assert stops(calendar, step) == found[found.index(step) + 1 :]


@settings(max_examples=60, deadline=None)
@given(calendars)
def test_due_dates_by_their_definition(calendar):
    ends = set(calendar.epoch_ends.tolist())
    for step in range(1, calendar.total + 1):
        regular = step % calendar.eval_every == 0 if calendar.eval_every else step in ends
        evaluate = regular or step == calendar.total
        assert calendar.evaluation_due(step) == evaluate
        save = calendar.save_every > 0 and step % calendar.save_every == 0
        assert calendar.save_due(step) == (evaluate or save)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 13), min_size=1, max_size=5))
def test_epochs_done_counts_each_window_as_its_share_of_its_epoch(lengths):
    calendar = Calendar(np.cumsum(lengths), 0, 0, 100)
    shares = [(epoch, 1 / length) for epoch, length in enumerate(lengths) for _ in range(length)]
    done = 0.0
    for step, (epoch, share) in enumerate(shares):
        assert calendar.epoch(step) == epoch
        assert calendar.epochs_done(step) == pytest.approx(done, abs=1e-12)
        done += share
    assert calendar.epochs_done(calendar.total) == len(lengths)
    assert calendar.total == sum(lengths)


def test_a_small_calendar_by_hand():
    calendar = Calendar(np.array([10, 17]), eval_every=0, save_every=4, steps_per_call=6)
    assert stops(calendar) == [4, 6, 8, 10, 12, 16, 17]
    assert [s for s in range(1, 18) if calendar.evaluation_due(s)] == [10, 17]
    assert [s for s in range(1, 18) if calendar.save_due(s)] == [4, 8, 10, 12, 16, 17]
    assert calendar.epochs_done(5) == 0.5


@pytest.fixture
def handlers():
    """The two handlers in place before a test, put back after it whatever happens."""
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)}
    yield before
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_is_only_noted(signum, handlers):
    with Interrupts() as interrupts:
        interrupts.check("nothing yet")
        assert interrupts.signum is None
        signal.raise_signal(signum)
        assert interrupts.signum == signum
        with pytest.raises(Interrupted, match="all saved") as caught:
            interrupts.check("all saved")
    assert caught.value.signum == signum


def test_a_second_ctrl_c_stops_at_once_and_a_second_sigterm_does_not(handlers):
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert interrupts.signum == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("fails", [False, True])
def test_the_handlers_are_put_back(fails, handlers):
    try:
        with Interrupts():
            assert all(signal.getsignal(s) != handler for s, handler in handlers.items())
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert {s: signal.getsignal(s) for s in handlers} == handlers


def test_outside_the_main_thread_nothing_is_installed(handlers):
    from concurrent.futures import ThreadPoolExecutor

    def enter() -> dict:
        with Interrupts() as interrupts:
            interrupts.check("never asked to stop")
            return {s: signal.getsignal(s) for s in handlers}

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result() == handlers
