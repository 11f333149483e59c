"""Verdicts and intervals in worlds with a known truth: a small grid of what `make statistics` goes through."""

import numpy as np
import pytest

from tests.reports.simulated_worlds import World, rates


@pytest.mark.parametrize(
    ("world", "repeats"),
    [
        *((World(2, 20, runs, seed=seed), 600) for runs in (3, 5) for seed in (0, 3)),
        *((World(18, cases, 3, seed=seed), 120) for cases in (10, 20) for seed in (0, 2)),
        (World(18, 20, 5, seed=3), 120),
    ],
)
def test_equal_methods_are_called_different_as_seldom_as_it_says(world: World, repeats: int) -> None:
    found = rates(world, repeats)
    assert found.false <= 0.06 + 2 * np.sqrt(0.06 * 0.94 / repeats)
    assert found.difference >= 0.93 or world.seed == 0  # where there is no spread of runs, looking for one makes tests cautious


@pytest.mark.parametrize(("methods", "runs", "most"), [(6, 3, 0.08), (10, 3, 0.08), (10, 5, 0.06), (18, 3, 0.07)])
def test_a_baseline_that_moves_more_than_others_makes_few_more_verdicts_false(methods: int, runs: int, most: float) -> None:
    """It and half of the others move four times as much from run to run as the rest: with the pooled spread .12 of 10 in 3 runs."""
    repeats = 300
    found = rates(World(methods, 10, runs, seed=6.0, run=3.0, uneven=0.25), repeats)
    assert found.false <= most + 2 * np.sqrt(most * (1 - most) / repeats)
    assert found.difference >= 0.9 and found.mean >= 0.9


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("runs", [3, 5])
def test_intervals_of_means_cover_as_often_as_they_say_with_draws_and_with_seeds_in_draws(runs: int, seeds: int) -> None:
    found = rates(World(4, 20, runs, seeds, seed=4.0), 800)
    assert 0.93 - 2 * 0.009 <= found.mean <= 0.97 + 2 * 0.006  # two standard errors of the simulation


def test_one_run_is_never_a_verdict_and_two_methods_10_points_apart_are_found_in_three_runs() -> None:
    assert rates(World(runs=1, effect=10.0), 20).found == 0
    assert rates(World(runs=3, effect=10.0), 100).found > 0.9
