"""Options from a file: the same as typed ones, overridden by them, and refused in a sentence that names the file and the key."""

from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from benchmark.commands import app
from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import PROTOCOLS
from benchmark.ground.rules import get_protocol
from benchmark.study.grid import expand, parse_labels, parse_methods, parse_runs
from datasets.phantom import Phantom
from methods.method import Step

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "acdc_gpu.yaml"
COMMANDS: Any = typer.main.get_command(app)


def options(command: str, *arguments: str) -> dict[str, Any]:
    """The values of a command's options, which is not carried out."""
    return dict(COMMANDS.commands[command].make_context(command, list(arguments)).params)


def file_of(folder: Path, text: str | bytes) -> Path:
    file = folder / "grid.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def without_config(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "config"}


@pytest.mark.parametrize(
    ("command", "text", "typed"),
    [
        ("run", "labels: 1,3,7", ["--labels", "1,3,7"]),
        ("run", "labels: [1, 3, 7]", ["--labels", "1,3,7"]),
        ("run", "labels: 3", ["--labels", "3"]),
        ("run", "labels: all\nruns: 3", ["--labels", "all", "--runs", "3"]),
        ("run", "methods: cctr,cctr[rsl=false,reps=false]", ["--methods", "cctr,cctr[rsl=false,reps=false]"]),
        ("run", "methods:\n- cps\n- cctr[rsl=false,reps=false]", ["--methods", "cps,cctr[rsl=false,reps=false]"]),
        ("run", "methods: [cps, 'cctr[rsl=false]']", ["--methods", "cps,cctr[rsl=false]"]),
        ("run", "dry-run: true\nsystem_metrics: true", ["--dry-run", "--system-metrics"]),
        ("run", "dry_run: false", []),
        ("run", "tracking: none\ndata: some/where.h5", ["--tracking", "none", "--data", "some/where.h5"]),
        ("run", "data:\nregister: null", []),
        ("run", "draws: 0,2\nseeds: 1", ["--draws", "0,2", "--seeds", "1"]),
        ("run", "hparams: tuned", ["--hparams", "tuned"]),
        ("run", "labels: 010\nruns: 1_0", ["--labels", "010", "--runs", "1_0"]),
        ("run", "slurm: 'time=1:30'\ndraws: 1:30", ["--slurm", "time=1:30", "--draws", "1:30"]),
        ("run", "store: 2025-01-01\ndata: no", ["--store", "2025-01-01", "--data", "no"]),
        ("run", "store: 1e3\ndry-run: yes", ["--store", "1e3", "--dry-run"]),
        ("run", "plugin: a.py", ["--plugin", "a.py"]),
        ("run", "plugin: [a.py, b.py]", ["--plugin", "a.py", "--plugin", "b.py"]),
        ("ablate", "method: cps\nfactors: [rsl, 'exchange=0.1|0.2']", ["--method", "cps", "--factors", "rsl,exchange=0.1|0.2"]),
        ("tune", "trials: 5\npruner: median", ["--trials", "5", "--pruner", "median"]),
    ],
)
def test_a_file_says_what_the_command_line_would(
    command: str, text: str, typed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCHMARK_PLUGINS", "")  # what --plugin sets is undone
    found = options(command, "--config", str(file_of(tmp_path, text)))
    assert without_config(found) == without_config(options(command, *typed))


def test_the_home_folder_is_that_of_a_shell(tmp_path: Path) -> None:
    assert options("run", "--config", str(file_of(tmp_path, "data: ~/ACDC")))["data"] == Path.home() / "ACDC"


@pytest.mark.parametrize("before", [True, False])
def test_the_command_line_goes_before_the_file(tmp_path: Path, before: bool) -> None:
    config = ["--config", str(file_of(tmp_path, "labels: 1,3,7\nruns: 3\nprotocol: paper"))]
    typed = ["--labels", "3", "--protocol", "smoke"]
    found = options("run", *(typed + config if before else config + typed))
    assert (found["labels"], found["protocol"], found["runs"]) == ("3", "smoke", 3)


@pytest.mark.parametrize(
    ("text", "typed", "expected"),
    [
        ("runs: 3", ["--draws", "2"], (None, "2", None)),
        ("draws: 0,1\nseeds: 0,1", ["--runs", "2"], (2, None, None)),
        ("draws: 0,1\nseeds: 5", ["--seeds", "6"], (None, "0,1", "6")),
        ("runs: 3", ["--runs", "1", "--seeds", "6"], (1, None, "6")),  # refused later, as it is without a file
    ],
)
def test_runs_of_a_file_give_way_to_draws_that_are_typed(
    text: str, typed: list[str], expected: tuple[Any, ...], tmp_path: Path
) -> None:
    found = options("run", *typed, "--config", str(file_of(tmp_path, text)))
    assert tuple(found[name] for name in ("runs", "draws", "seeds")) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: cctr", ["'method' is no option of run", "did you mean 'methods'"]),
        ("trials: 5", ["'trials' is no option of run", "known: methods, labels"]),
        ("config: other.yaml", ["'config' is no option"]),
        ("1: 2", ["'1' is no option"]),
        ("runs: three", ["runs cannot be 'three'", "--runs"]),
        ("runs: 0", ["runs cannot be '0'"]),
        ("runs: 2.5", ["runs cannot be '2.5'"]),
        ("runs: true", ["runs cannot be 'true'"]),
        ("runs: [1, 2]", ["runs cannot be '1,2'"]),
        ("dry-run: perhaps", ["dry-run cannot be 'perhaps'", "--dry-run"]),
        ("stale: perhaps", ["stale cannot be 'perhaps'", "'renew', 'keep'"]),
        ("labels: {one: 1}", ["labels holds values within values"]),
        ("methods:\n- cctr:\n    rsl: false", ["methods holds values within values"]),
        ("labels: [1, null]", ["labels holds an empty value among others"]),
        ("labels: 1\nruns: 2\nlabels: 3", ["labels twice"]),
        ("dry-run: true\ndry_run: false", ["dry_run twice"]),
        ("labels: [1, 3", ["is no YAML"]),
        ("labels: 1\n  runs: 3", ["is no YAML", "line 2"]),
        ("labels: !!python/object:os.system 1", ["has a tag"]),
        (b"\xff\xfe\x00", ["is no YAML"]),
        ("[" * 5000, ["is no YAML"]),
        ("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\nlabels: 1", ["has an alias"]),
        ("- labels\n- runs", ["holds a list"]),
        ("labels", ["holds a single value"]),
        ("", ["holds nothing"]),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(text: str | bytes, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        options("run", "--config", str(file_of(tmp_path, text)))
    said = str(error.value)
    assert all(word in said for word in [*words, "grid.yaml"]) and "\n" not in said, said


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--config: .* cannot be read"):
        options("run", "--config", str(tmp_path / name))


def test_the_experiment_asks_the_most_telling_cells_first() -> None:
    found = options("run", "--config", str(EXPERIMENT))
    protocol = get_protocol(found["protocol"])
    assert protocol.name == "paper" and found["dataset"] == "acdc"
    phantom = Phantom()
    budgets = parse_labels(found["labels"], len(phantom.split.train))
    cells = expand(phantom, parse_methods(found["methods"]), budgets, parse_runs(found["runs"], None, None), protocol, "")
    assert len(cells) == len({cell.id for cell in cells}) == 12 * 3 * 3
    order = [(cell.variant, cell.labels) for cell in cells]
    factorial = ["cctr", "cctr[rsl=false]", "cctr[reps=false]", "cctr[rsl=false,reps=false]"]
    assert order[:6] == [(name, 1) for name in [*factorial, "cross_teaching", "supervised"]]
    assert [labels for _, labels in order[:36]] == [1] * 12 + [3] * 12 + [7] * 12
    assert [cell.draw for cell in cells] == sorted(cell.draw for cell in cells)
    others = {"label_propagation", "mean_teacher", "cps", "mcsc", "unimatch", "bcp"}
    assert {name for name, _ in order} == {*factorial, "cross_teaching", "supervised", *others}


def test_the_short_protocol_is_the_paper_s_but_for_its_steps() -> None:
    paper, short = (get_protocol(name).model_dump() for name in ("paper", "paper-short"))
    assert {key for key in paper if paper[key] != short[key]} == {"name", "summary", "steps"}
    assert (paper["steps"], short["steps"]) == (30_000, 4_000)
    for part in (0, 0.25, 0.75):  # schedules are fractions of the steps
        assert Step(int(part * 4_000), 4_000).ramp == Step(int(part * 30_000), 30_000).ramp
    half = get_protocol("paper-bf16").model_dump()
    assert half.pop("precision") == "bfloat16" and {key for key in half if paper[key] != half[key]} == {"name", "summary"}
    assert list(PROTOCOLS) == ["smoke", "quick", "desk", "paper", "paper-short", "paper-bf16"]


def test_the_experiment_is_plain_yaml() -> None:
    content = yaml.safe_load(EXPERIMENT.read_text())
    assert not Path(content["data"]).is_absolute() and content["store"].startswith("runs/")  # what git does not keep
