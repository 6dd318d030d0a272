"""The search for a quality, on curves that are known."""

import math

import pytest

from coscale.search import Goal, reach


@pytest.mark.parametrize("limit", [1500.0, 8000.0, 50_000.0])
def test_few_costly_tries_come_near_a_size(limit: float) -> None:
    tries: list[float] = []

    def plain(quality: float) -> float:
        return math.log(1000 + 20 * quality + math.exp(quality / 9))

    def costly(quality: float) -> tuple[float, float]:
        tries.append(quality)
        return quality, plain(quality) + 0.1 - quality / 400

    found = reach(Goal(math.log(limit), True, 0.02, plain, costly), 1, 100)
    assert found is not None
    assert -0.02 <= costly(found)[1] - math.log(limit) <= 0
    assert len(tries) <= 5


def test_no_less_than_a_psnr() -> None:
    found = reach(Goal(36.0, False, 0.1, lambda q: 20 + q / 5, lambda q: (q, 20.7 + q / 5.5)), 1, 100)
    assert found is not None
    assert 36 <= 20.7 + found / 5.5 <= 36.1


@pytest.mark.parametrize(("limit", "most"), [(10.0, True), (90.0, False)])
def test_out_of_reach(limit: float, most: bool) -> None:
    assert reach(Goal(limit, most, 0.1, lambda q: 20 + q / 5, lambda q: (q, 20 + q / 5)), 1, 100) is None


@pytest.mark.parametrize("most", [True, False])
def test_a_format_of_few_qualities(most: bool) -> None:
    """Where values come in steps, what keeps to the goal is found, though nothing is near."""

    def coarse(quality: float) -> float:
        return 10.0 * (quality // 20)

    found = reach(Goal(25.0, most, 0.1, coarse, lambda q: (coarse(q), coarse(q))), 1, 100)
    assert found == (20.0 if most else 30.0)
