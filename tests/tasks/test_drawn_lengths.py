"""Tasks that draw the length of each sequence: long ones, and one length by the same program."""

import jax
import numpy as np
import pytest

from lstm_jax.tasks import make_task
from lstm_jax.tasks.binary import _counted, _product_shares
from lstm_jax.tasks.expressions import MODULUS, values
from lstm_jax.tasks.generated import at_length, draws_lengths
from lstm_jax.tasks.state_tracking import GROUPS, elements
from tests.solvers import SOLVERS

LONG = {
    "modular_arithmetic": 61,
    "modular_arithmetic_brackets": 70,
    "solve_equation": 66,
    "stack_manipulation": 60,
    "missing_duplicate": 70,
    "binary_addition": 80,
    "binary_multiplication": 75,
    "compute_sqrt": 73,
}
"""Task -> a length beyond what 32 and 64 bits hold, or at which brackets nest deeply."""


@pytest.mark.parametrize("name", LONG)
def test_long_sequences_are_as_the_player_says(name):
    task = at_length(make_task(name, length=LONG[name] + 5, batch=12, epochs=1, seed=3), LONG[name])
    batch = jax.device_get(jax.jit(task.batch, static_argnums=(1, 3))(task.data, "train", 0, 0))
    for b in range(12):
        real = batch.lengths[b]
        options = dict(length=LONG[name] + 5, shortest=1)
        said = list(SOLVERS[name].solve((int(token) for token in batch.inputs[:real, b]), **options))
        asked = np.flatnonzero(batch.weights[:, b])
        assert len(asked) and [said[t] for t in asked] == batch.targets[asked, b].tolist()


def test_a_length_is_data_and_no_other_program():
    task = make_task("reverse_string", length=9, batch=64, epochs=1, seed=0)
    assert draws_lengths(task) and not draws_lengths(make_task("delayed_recall", epochs=1, seed=0))
    traces = []

    @jax.jit
    def lengths(data):
        traces.append(0)
        return task.batch(data, "train", 0, 0).lengths

    assert set(np.asarray(lengths(task.data))) == {2 * n + 1 for n in range(1, 10)}
    for n in (1, 4, 9):
        assert set(np.asarray(lengths(at_length(task, n).data))) == {2 * n + 1}
    assert len(traces) == 1


def test_the_share_of_ones_in_products_of_longer_operands():
    """Against a count over all of them, where the operands have a bit or two more than are counted inside."""
    for first, second in ((9, 9), (10, 9), (4, 10), (1, 10)):
        np.testing.assert_allclose(_product_shares(first, second), _counted(first, second), atol=5e-3)


def test_the_distribution_of_an_expression_by_all_of_them():
    """Lengths 5 and 6: (d op d), (-d op d), (d op -d), by counting."""
    digits = [(a, b) for a in range(MODULUS) for b in range(MODULUS)]
    short = np.bincount([v % MODULUS for a, b in digits for v in (a + b, a - b, a * b)], minlength=MODULUS)
    np.testing.assert_allclose(values(6)[5], short / short.sum())
    signed = [v % MODULUS for a, b in digits for v in (-a + b, -a - b, -a * b, a - b, a + b, a * -b)]
    np.testing.assert_allclose(values(6)[6], np.bincount(signed, minlength=MODULUS) / len(signed))


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_has_its_elements_and_the_first_is_one(group):
    which = elements(group)
    assert len(which) == len(set(which)) == GROUPS[group]
    assert which[0] == tuple(range(len(which[0])))
