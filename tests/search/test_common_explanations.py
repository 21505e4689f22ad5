"""What several networks share, and whether the diagnosis leans on the criteria: by hand."""

import math

import numpy as np
import pytest

from search.analysis.common_explanations import dependence_of, spread_of, stability
from search.analysis.uncertainty import t_interval
from trainables.sharing import Sharing

TASKS = ("DIAG", "PN", "BWV")


def sharing(*blocks: list[list[float]]) -> Sharing:
    return Sharing(TASKS, np.array(blocks))


ONE = [[1.0, 0.8, 0.6], [0.2, 1.0, 0.1], [0.3, 0.0, 1.0]]
OTHER = [[1.0, 0.6, 0.6], [0.4, 1.0, 0.1], [0.1, 0.2, 1.0]]


def test_mean_and_deviation_over_networks() -> None:
    found = spread_of([sharing(ONE), sharing(OTHER)])
    assert found is not None
    np.testing.assert_allclose(found.mean, [[1.0, 0.7, 0.6], [0.3, 1.0, 0.1], [0.2, 0.1, 1.0]])
    np.testing.assert_allclose(found.deviation[0], [0.0, 0.2 / math.sqrt(2), 0.0], atol=1e-12)
    assert (found.changes, found.moved, found.changed(1, 5)) == (None, None, []), "no start is recorded"
    off = [0.8, 0.6, 0.2, 0.1, 0.3, 0.0], [0.6, 0.6, 0.4, 0.1, 0.1, 0.2]
    assert found.stability == pytest.approx(np.corrcoef(off)[0, 1])


def test_a_block_of_its_own() -> None:
    found = spread_of([sharing(ONE, OTHER)], block=-1)
    assert found is not None
    np.testing.assert_array_equal(found.mean, OTHER)
    assert found.deviation.max() == 0
    assert found.stability is None


def test_networks_of_other_tasks_have_nothing_in_common() -> None:
    other = Sharing(("diagnosis", "PN", "BWV"), np.array([ONE]))
    assert spread_of([sharing(ONE), other]) is None
    assert spread_of([]) is None


def test_where_all_is_shared_alike_there_is_no_correlation() -> None:
    assert stability(np.full((2, 3, 3), 0.5)) is None


def test_what_the_diagnosis_takes_against_what_the_criteria_take_of_each_other() -> None:
    found = dependence_of("DIAG", [sharing(ONE), sharing(OTHER), sharing(ONE)])
    assert found is not None
    assert found.taken == pytest.approx((0.7, 0.6, 0.7))
    assert found.others == pytest.approx((0.05, 0.15, 0.05))
    assert found.difference == pytest.approx(1.75 / 3)
    # Values of 0.65, 0.45 and 0.65: their mean's standard error is 0.0667, and Student's t with two degrees of freedom 4.3027.
    assert found.interval == pytest.approx((1.75 / 3 - 0.2868, 1.75 / 3 + 0.2868), abs=1e-4)
    assert found.found is True


@pytest.mark.parametrize("networks", [[ONE], [ONE, OTHER]])
def test_fewer_than_three_networks_have_no_interval(networks: list[list[list[float]]]) -> None:
    found = dependence_of("DIAG", [sharing(network) for network in networks])
    assert found is not None
    assert found.interval is None
    assert found.found is None
    assert dependence_of("diagnosis", [sharing(ONE)]) is None
    assert t_interval([1.0]) is None
