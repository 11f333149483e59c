"""The factorial that the options of `ablate` name."""

import pytest

from benchmark.ground.errors import BadInput
from benchmark.study.ablation import parse_design


def test_switches_are_off_and_on_and_every_combination_is_there() -> None:
    design, selections = parse_design("cctr", "rsl,reps")
    assert design.factors == {"rsl": ("false", "true"), "reps": ("false", "true")}
    assert design.variants == {
        "cctr[rsl=false,reps=false]": ("false", "false"),
        "cctr[rsl=false]": ("false", "true"),
        "cctr[reps=false]": ("true", "false"),
        "cctr": ("true", "true"),
    }
    assert [s.hparams["rsl"] for s in selections] == [False, False, True, True]
    assert [s.hparams["reps"] for s in selections] == [False, True, False, True]


def test_three_factors_and_levels_of_any_parameter_of_any_method() -> None:
    design, selections = parse_design("cctr[contrast=0.05]", "rsl,reps,registration=identity|affine|deformable")
    assert len(selections) == 12 and {s.hparams["contrast"] for s in selections} == {0.05}
    assert design.factors["registration"] == ("identity", "affine", "deformable")
    design, selections = parse_design("mean_teacher", "rsl,consistency=0|0.1")
    assert [(s.hparams["rsl"], s.hparams["consistency"]) for s in selections] == [
        (False, 0.0),
        (False, 0.1),
        (True, 0.0),
        (True, 0.1),
    ]
    assert design.method == "mean_teacher"


@pytest.mark.parametrize(
    ("method", "factors", "parts"),
    [
        ("cctr,cps", "rsl", ["--method", "2 methods"]),
        ("ccrt", "rsl", ["ccrt", "cctr"]),
        ("cctr", "rlsl", ["--factors", "rlsl", "rsl"]),
        ("cctr", "", ["--factors", "no factor"]),
        ("cctr", "rsl,rsl", ["rsl comes twice"]),
        ("cctr", "rsl_weight", ["rsl_weight is no switch"]),
        ("cctr", "rsl_weight=0.1", ["one level"]),
        ("cctr", "rsl_weight=0.1|0.10", ["comes twice"]),
        ("cctr", "rsl_weight=0.1|-1", ["--factors", "rsl_weight=-1"]),
        ("cctr[rsl=false]", "rsl", ["rsl has a value in --method already"]),
    ],
)
def test_what_cannot_be_a_factorial_is_refused(method: str, factors: str, parts: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        parse_design(method, factors)
    assert all(part in str(caught.value) for part in parts), caught.value
