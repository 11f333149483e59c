"""Draws are fixed, nested, balanced over groups, and refuse what cannot be asked for."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.ground.errors import BadInput
from datasets import draws
from datasets.draws import labelled_cases

ACDC_ORDER = (
    "099 038 050 100 058 021 049 020 072 040 060 089 004 056 098 096 031 018 "
    "094 047 048 055 097 074 043 041 063 037 095 054 026 088 032 069 006"
)
TRAIN = tuple(f"patient{number}" for number in ACDC_ORDER.split())

# First seven numbers by `for n in ...; do echo "$(printf acdc/$draw/patient$n | sha256sum) $n"; done | sort`
PINNED = {
    0: "099 038 050 100 058 021 049",
    1: "054 095 094 006 088 021 055",
    2: "004 095 049 054 018 037 031",
    3: "069 021 031 041 026 089 099",
}

cases = st.lists(st.integers(0, 200).map("case{:03d}".format), min_size=1, max_size=40, unique=True).map(tuple)
random_draws = st.integers(1, 9)


@pytest.mark.parametrize("draw", PINNED)
def test_draws_are_fixed(draw: int) -> None:
    assert labelled_cases("acdc", TRAIN, 7, draw) == tuple(f"patient{number}" for number in PINNED[draw].split())


@given(cases, st.integers(0, 9), st.data())
def test_smaller_budgets_are_prefixes_of_distinct_training_cases(
    train: tuple[str, ...], draw: int, data: st.DataObject
) -> None:
    budget = data.draw(st.integers(1, len(train)))
    everything = labelled_cases("d", train, len(train), draw)
    assert sorted(everything) == sorted(train)
    assert labelled_cases("d", train, budget, draw) == everything[:budget]


@given(cases, random_draws, st.randoms(use_true_random=False))
def test_random_draws_ignore_the_canonical_order(train: tuple[str, ...], draw: int, random: object) -> None:
    shuffled = list(train)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert labelled_cases("d", tuple(shuffled), len(train), draw) == labelled_cases("d", train, len(train), draw)


@given(cases, random_draws, st.data())
def test_a_subset_keeps_the_order_of_the_whole(train: tuple[str, ...], draw: int, data: st.DataObject) -> None:
    kept = data.draw(st.sets(st.sampled_from(train), min_size=1))
    whole = labelled_cases("d", train, len(train), draw)
    subset = tuple(case for case in train if case in kept)
    assert labelled_cases("d", subset, len(subset), draw) == tuple(case for case in whole if case in kept)


@given(cases, random_draws, st.data())
def test_every_prefix_is_as_balanced_as_the_groups_allow(train: tuple[str, ...], draw: int, data: st.DataObject) -> None:
    groups = {case: data.draw(st.sampled_from("abc")) for case in train}
    size = Counter(groups.values())
    everything = labelled_cases("d", train, len(train), draw, groups)
    assert sorted(everything) == sorted(train)
    for budget in range(1, len(train) + 1):
        taken = Counter(groups[case] for case in everything[:budget])
        assert all(taken[group] >= min(size[group], max(taken.values()) - 1) for group in size)


@pytest.mark.parametrize("name", ["acdc", "synapse", "phantom"])
def test_the_lists_in_git_are_what_the_whole_dataset_gets(name: str) -> None:
    from datasets.acdc.layout import GROUPS
    from datasets.acdc.official import TRAIN as NUMBERS
    from datasets.phantom import Phantom
    from datasets.synapse import CANONICAL

    acdc = tuple(f"patient{number:03}" for number in NUMBERS)
    train = {"acdc": acdc, "synapse": CANONICAL, "phantom": Phantom().split.train}[name]
    groups = {case: GROUPS[(int(case[-3:]) - 1) // 20] for case in acdc} if name == "acdc" else {}
    listed = (Path(draws.__file__).parent / "draws" / f"{name}.txt").read_text().splitlines()
    orders = (labelled_cases(name, train, len(train), draw, groups) for draw in draws.DRAWS)
    assert listed == [f"{draw} {' '.join(order)}" for draw, order in enumerate(orders)]


def test_groups_leave_the_canonical_draw_alone() -> None:
    groups = {case: str(number % 3) for number, case in enumerate(TRAIN)}
    assert labelled_cases("acdc", TRAIN, 9, 0, groups) == TRAIN[:9]


def test_draws_and_datasets_differ() -> None:
    orders = {labelled_cases(dataset, TRAIN, 7, draw) for dataset in ("acdc", "other") for draw in range(1, 10)}
    assert len(orders) == 18


@pytest.mark.parametrize("budget", [0, -1, 36, 999])
def test_impossible_budgets_are_refused(budget: int) -> None:
    with pytest.raises(BadInput, match=f"cannot label {budget} cases: acdc has 35 training cases"):
        labelled_cases("acdc", TRAIN, budget, 0)


@pytest.mark.parametrize("draw", [-1, 10])
def test_unknown_draws_are_refused(draw: int) -> None:
    with pytest.raises(BadInput, match=f"draw {draw} does not exist"):
        labelled_cases("acdc", TRAIN, 1, draw)
