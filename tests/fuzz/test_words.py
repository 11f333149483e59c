"""What is typed, or stands in a file of options or rules: whatever it is, it means something, and the same when it is read again, or it is
refused in one sentence.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from benchmark import commands as cli
from benchmark.ground.errors import BadInput
from benchmark.ground.rules import get_protocol
from benchmark.launchers.site import parse_cluster
from benchmark.records.ablations import Ablation, remember, remembered
from benchmark.records.store import Store
from benchmark.study.ablation import parse_design
from benchmark.study.grid import parse_labels, parse_methods, parse_numbers
from tests.fuzz.fuzzing import damage, few, spend

COMMANDS: Any = typer.main.get_command(cli.app)
LONGEST = 1500
"""Letters of a sentence that somebody may still read."""

NAMES = (
    "cctr cps supervised abd mean_teacher quick smoke paper all rsl reps registration exchange learning_rate steps swin.window"
)
TOKENS = [
    *NAMES.split(),
    *["unet_widths", "image_size", "none", "no", "true", "False", "NaN", "inf", "1e999", "1e-400", "-0", "010", "1:30", "0x10"],
    *["9" * 5000, "-" + "9" * 19, "٣", "²", "१", "\ud800", "\udcff", "\0", "\n", "\u2028", "é", "x" * 3000, "affine|identity"],
    *[
        "[",
        "]",
        "[[",
        ",",
        ",,",
        "=",
        "==",
        "|",
        "'",
        '"',
        "'a, b'",
        "*a",
        "&a",
        "!!x",
        "? ",
        ": ",
        "{",
        "}",
        "#",
        "%",
        "<<",
        "~",
    ],
    *["rsl=false", "reps=true", "[rsl=false]", "registration=identity|affine", "steps=40", "[steps=40]", "quick[steps=40]"],
    *[
        "cctr[rsl=false,reps=false]",
        "1",
        "3",
        "7",
        "0",
        "-1",
        "+1",
        "0.5",
        ".5",
        "2025-01-01",
        "partition=gpu",
        "time=120",
        " ",
    ],
]
GOOD = ["true", "false", "0.5", ".1", "3", "40", "affine", "deformable", "[8,16]", "[8, 16, 32, 64]", "bfloat16"]
VALUES = st.sampled_from(GOOD) | st.sampled_from(TOKENS)
PARAMS = "rsl reps registration exchange learning_rate steps momentum swin.window unet_widths precision validations x"
PAIRS = st.lists(st.builds("{}={}".format, st.sampled_from(PARAMS.split()), VALUES), max_size=3).map(",".join)
ITEMS = st.builds("{}[{}]".format, st.sampled_from(NAMES.split()), PAIRS) | st.sampled_from(NAMES.split())
LEVELS = st.lists(VALUES, min_size=1, max_size=3).map("|".join)
FACTORS = st.builds("{}={}".format, st.sampled_from(PARAMS.split()), LEVELS) | st.sampled_from(["rsl", "reps"])
WORDS = st.one_of(
    st.lists(ITEMS, min_size=1, max_size=3).map(",".join),
    st.lists(FACTORS, min_size=1, max_size=3).map(",".join),
    st.lists(st.sampled_from(["1", "2", "3", "all", "0", "5", "9" * 16]), min_size=1, max_size=3).map(",".join),
    st.lists(st.sampled_from(TOKENS), max_size=8).map("".join),
    st.lists(st.sampled_from(TOKENS), max_size=5).map(",".join),
    st.text("cps[]=,'\"|. x1é{}:&*!\n\t", max_size=30),
    st.text(max_size=12),
)
"""What somebody could have meant, and what nobody can."""


def methods(text: str, folder: Path) -> None:
    for selection in parse_methods(text):
        assert parse_methods(selection.variant) == [selection]


def factors(text: str, folder: Path) -> None:
    design, selections = parse_design("cctr", text)
    assert [selection.variant for selection in selections] == list(design.variants)
    mine = Ablation("phantom", "quick", design)
    remember(mine, Store(folder))
    assert mine in remembered(Store(folder), tell=lambda left_out: pytest.fail(left_out))


def protocol(text: str, folder: Path) -> None:
    found = get_protocol(text)
    assert get_protocol(found.name) == found


def labels(text: str, folder: Path) -> None:
    assert set(parse_labels(text, 5)) <= {1, 2, 3, 4, 5}


def numbers(text: str, folder: Path) -> None:
    found = parse_numbers("--draws", text)
    assert parse_numbers("--draws", ",".join(map(str, found))) == found


def cluster(text: str, folder: Path) -> None:
    assert all(key and value for key, value in parse_cluster("--slurm", text).items())


def options(content: str | bytes, folder: Path) -> None:
    file = folder / "options.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    COMMANDS.commands["run"].make_context("run", ["--config", str(file)])


def rules(content: str | bytes, folder: Path) -> None:
    file = folder / "mine.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode(errors="surrogatepass"))
    assert get_protocol(str(file)).name == "mine"


OPTIONS = (
    b"labels: 1,3,7\nmethods:\n- cctr\n- cctr[rsl=false]\nruns: 3\nstore: ~/x\ndry-run: true\n# so it is\nhparams: tuned\n"
)
RULES = b"base: paper\nsteps: 8000\nswin: {window: 7, depths: [2, 2, 2, 2]}\nmomentum: 0.9\nprecision: bfloat16\n"
TYPED: dict[Callable[[str, Path], None], str] = {
    methods: "cctr[rsl=false],cps",
    factors: "rsl,reps",
    protocol: "quick[steps=40]",
    labels: "1,3,all",
    numbers: "0,1",
    cluster: "partition=gpu,time=120",
}
"""What reads what is typed, each with words that it must understand, drawn among all others."""


def judged(read: Callable[[Any, Path], None], words: Any, folder: Path, outcomes: Counter[str]) -> None:
    try:
        read(words, folder)
        outcomes["read"] += 1
    except BadInput as error:
        said = str(error)
        assert said and len(said.splitlines()) == 1 and len(said) < LONGEST, said[:2000]
        outcomes["refused"] += 1


@pytest.mark.timeout(0)
@pytest.mark.parametrize("read", TYPED, ids=lambda read: read.__name__)
def test_what_is_typed_means_something_or_is_refused_in_a_sentence(
    read: Callable[[str, Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = Counter[str]()

    @few
    @given(WORDS | st.just(TYPED[read]))
    def batch(text: str) -> None:
        judged(read, text, tmp_path, outcomes)

    told = spend(batch, outcomes)
    with capsys.disabled():
        print(f"\n{read.__name__}: {told}")


@pytest.mark.timeout(0)
@pytest.mark.parametrize(("read", "whole"), [(options, OPTIONS), (rules, RULES)], ids=["options", "rules"])
def test_files_of_options_and_rules_mean_something_or_are_refused_in_a_sentence(
    read: Callable[[Any, Path], None], whole: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = Counter[str]()
    lines = st.lists(
        st.sampled_from(whole.decode().splitlines())
        | st.builds(lambda key, sign, value: f"{key}{sign}{value}", WORDS, st.sampled_from([": ", ":", "\n- ", ": ["]), WORDS),
        max_size=6,
    )

    @few
    @given(st.data())
    def batch(data: st.DataObject) -> None:
        drawn = st.sampled_from([damage(whole, data), "\n".join(data.draw(lines)), whole])
        content = data.draw(drawn)
        judged(read, content, tmp_path, outcomes)

    told = spend(batch, outcomes)
    with capsys.disabled():
        print(f"\n{read.__name__}: {told}")


@pytest.mark.timeout(0)
def test_commands_end_with_the_code_of_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = Counter[str]()
    typed = ("--methods", "--labels", "--protocol", "--draws", "--seeds", "--runs", "--slurm", "--device", "--store", "--jobs")

    @few
    @given(st.lists(st.tuples(st.sampled_from(typed), WORDS), max_size=4))
    def batch(pairs: list[tuple[str, str]]) -> None:
        words = [word.replace("\0", "") for pair in pairs for word in pair]  # no process can be given one
        monkeypatch.setattr(sys, "argv", ["benchmark", "run", "--dataset", "acdc", "--data", str(tmp_path / "gone"), *words])
        with pytest.raises(SystemExit) as ended, contextlib.chdir(tmp_path):
            cli.main()
        told = capsys.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in told, (words, told[-2000:])
        outcomes["refused"] += 1

    outcomes["read"] = 1  # the data is not there: nothing ever runs
    told = spend(batch, outcomes)
    with capsys.disabled():
        print(f"\ncommands: {told}")
