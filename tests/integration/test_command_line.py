"""The command line driven end to end, in processes of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from benchmark import commands as cli
from benchmark.records.store import CellFolder
from datasets.preparing import _raw
from tests.benchmarks.ratios import machine_seconds
from tests.datasets.layouts import acdc_slices

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "benchmark", *map(str, arguments)]


def bench(*arguments: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """What a pipe gets of a command: nothing of it is cut or wrapped, however narrow the terminal is said to be."""
    environment = os.environ | {"COLUMNS": "40", "NO_COLOR": "1"}
    return subprocess.run(
        command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout, env=environment, check=False
    )


Options = Callable[..., list[object]]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """As ``bench``, in this process, which has imported everything: for what takes no time but that."""
    monkeypatch.setattr(cli.out, "width", 200)
    monkeypatch.chdir(ROOT)

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return subprocess.CompletedProcess(sys.argv, code or 0, told.out, told.err)

    return run


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Options:
    """Options of the shortest protocol on six phantom cases in the layout of ACDC: three train, two of them or one labelled."""
    folder = tmp_path_factory.mktemp("acdc")
    acdc_slices(folder)

    def options(store: Path, *more: object) -> list[object]:
        return ["--dataset", "acdc", "--data", folder, "--protocol", "smoke", "--store", store, "--tracking", "none", *more]

    return options


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, small: Options) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A store with some methods at one label, and what the command printed."""
    store = tmp_path_factory.mktemp("store")
    methods = "supervised,mean_teacher,cps,cross_teaching,contrastive,cctr,label_propagation"
    return store, bench("run", *small(store, "--methods", methods, "--labels", "1"))


def test_every_method_runs_and_the_leaderboard_names_it(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, result = finished
    assert result.returncode == 0, result.stderr
    for name in ("supervised", "mean_teacher", "cps", "cross_teaching", "contrastive", "cctr", "label_propagation"):
        assert name in result.stdout
    assert re.search(r"registration: [1-9]\d* pairs accepted, \d+ rejected", result.stderr) and "Traceback" not in result.stderr
    early = result.stderr.split("after 1 of 7 cells:")[1]
    assert "to do" in early.split("after 2 of 7 cells:")[0] and "after 4 of 7 cells:" in early and "after 3" not in early


def test_an_ablation_uses_the_store_and_reports_effects(
    call: Call, small: Options, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    store, _ = finished
    options = small(store, "--labels", "1", "--factors", "rsl,reps")
    planned = call("ablate", *options, "--dry-run")
    assert planned.returncode == 0 and "4 cells, 1 done" in planned.stdout
    result = bench("ablate", *options)
    assert result.returncode == 0, result.stderr
    assert "rsl x reps" in result.stdout and "cctr: effects of rsl, reps on test" in result.stdout
    folder = store / "report" / "ablation" / "acdc" / "smoke" / "cctr-rsl-reps"
    assert {path.name for path in folder.iterdir()} >= {"effects.csv", "effects.md", "interactions.png", "waterfall.svg"}
    refused = call("ablate", *options[:-1], "rlsl")
    assert refused.returncode == 2 and "rlsl" in refused.stderr and "Traceback" not in refused.stderr


def test_rules_of_one_s_own_run_are_ablated_tuned_and_reported(call: Call, small: Options, tmp_path: Path) -> None:
    store, rules = tmp_path / "runs", "smoke[steps=6,image_size=48]"
    own = ["--labels", "1", "--protocol", "smoke[image_size=48, steps=6]"]
    ablated = call("ablate", *small(store, *own, "--method", "mean_teacher", "--factors", "consistency=0|0.1"))
    assert ablated.returncode == 0, ablated.stderr
    assert f"protocol {rules}, last weights" in ablated.stdout and "Effect of" in ablated.stdout
    records = [json.loads(path.read_text()) for path in store.glob("acdc/*/*/record.json")]
    assert {(r["protocol"], r["steps"]) for r in records} == {(rules, 6)} and len({r["protocol_hash"] for r in records}) == 1
    classes = {"right ventricle", "myocardium", "left ventricle"}
    assert all(set(r["never_predicted"]) <= classes for r in records)
    assert any(r["never_predicted"] for r in records) == ("not converged at this length" in ablated.stdout)

    (tmp_path / "mine.yaml").write_text("base: smoke\nsteps: 6\n")
    from_file = [*small(store, "--labels", "1", "--protocol", tmp_path / "mine.yaml"), "--methods", "supervised"]
    assert "mine = smoke[steps=6]" in call("run", *from_file, "--dry-run").stdout
    ran = call("run", *from_file)
    assert ran.returncode == 0 and "protocol mine = smoke[steps=6], last weights" in ran.stdout, ran.stderr
    tuned = call("tune", *small(store, *own, "--methods", "supervised", "--trials", "2"))
    assert tuned.returncode == 0, tuned.stderr
    assert "mine = smoke[steps=6]" in call("ls", "cells", "--store", store).stdout

    assert call("report", "--store", store).returncode == 0
    report = store / "report"
    for name in ("leaderboard.md", "leaderboard.tex", "index.html"):
        text = (report / name).read_text().replace(r"\_", "_")
        assert rules in text and "mine = smoke[steps=6]" in text, name
    assert set(pd.read_csv(report / "leaderboard.csv")["protocol"]) == {rules, "mine"}
    names = [path.name for path in report.rglob("*") if path.is_file()]
    assert any(name.startswith("acdc-smoke_steps_6_image_size_48_-") for name in names)
    assert (report / "tuning" / "acdc-smoke_steps_6_image_size_48_-best.png") in set(report.rglob("*.png"))


def test_draws_are_listed_and_nested(call: Call) -> None:
    result = call("ls", "draws")
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == 10 and lines[0].split()[:2] == ["draw", "0"]
    assert len({line.split(maxsplit=2)[2] for line in lines}) == 10


def test_registration_prints_its_quality(
    call: Call, small: Options, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    store, _ = finished
    data = small(store)[:4]
    result = call("registration", "--labels", "1", "--store", store, *data)
    assert result.returncode == 0, result.stderr
    row = re.search(r"^ *mean +([\d. ]+)$", result.stdout, re.MULTILINE)
    assert row, result.stdout
    before, after, by_similarity, by_vote, oracle = map(float, row[1].split())
    assert before < 0.5 < 0.7 < by_vote and by_similarity <= oracle and after <= oracle
    assert "pairs registered to 4 volumes" in result.stdout
    folder = store / "report" / "registration" / "acdc"
    assert len(pd.read_csv(folder / "1-draw0-deformable-lncc-pairs.csv")) == 2 * 4
    assert (folder / "1-draw0-deformable-lncc.png").stat().st_size > 20_000


def test_a_finished_cell_is_never_run_again(
    call: Call, small: Options, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    store, _ = finished
    before = {path: path.stat().st_mtime_ns for path in store.rglob("record.json")}
    again = call("run", *small(store, "--methods", "cctr,cps", "--labels", "1"))
    assert again.returncode == 0 and "2 of 2 cells are done" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in store.rglob("record.json")} == before


def test_dry_run_shows_what_is_done_and_what_is_left(
    call: Call, small: Options, finished: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    store, _ = finished
    result = call("run", *small(store, "--methods", "cps", "--labels", "1,2", "--dry-run"))
    assert result.returncode == 0
    lines = [line for line in result.stdout.splitlines() if "cps" in line]
    assert len(lines) == 2 and "done" in lines[0] and "to do" in lines[1]
    assert "time left with" in result.stdout and len(list(store.glob("acdc/cps/*"))) == 1


def test_dry_run_on_an_empty_store_goes_by_what_methods_cost(call: Call, small: Options, tmp_path: Path) -> None:
    result = call("run", *small(tmp_path / "none", "--methods", "cctr[rsl=false]", "--labels", "1", "--dry-run"))
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "cctr[rsl=false]" in line]
    assert "to do" in line and re.search(r"0:0\d:\d\d +\d\.\d GB", line) and not (tmp_path / "none").exists()


def test_a_plan_reads_data_only_where_finished_cells_may_be_of_them(
    call: Call,
    small: Options,
    finished: tuple[Path, subprocess.CompletedProcess[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, store = ("--methods", "cps", "--labels", "1", "--dry-run"), tmp_path / "exported"
    shutil.copytree(finished[0], store, ignore=shutil.ignore_patterns("cache"))
    _raw.cache_clear()  # as in another process
    known = call("run", *small(store, *plan))
    assert known.returncode == 0 and "1 cells, 1 done" in known.stdout and "reading: 6 cases in" in known.stderr

    def read(*_: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr("datasets.contents.checked", read)
    _raw.cache_clear()
    new = call("run", *small(tmp_path / "new", *plan))
    assert new.returncode == 0, new.stderr
    (line,) = [line for line in new.stdout.splitlines() if "cps" in line]
    assert line.startswith("- ") and "to do" in line


def test_report_writes_tables_and_figures_from_records_alone(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    store, _ = finished
    result = bench("report", "--store", store, "--out", tmp_path)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "leaderboard.csv")
    assert set(table["variant"]) >= {"supervised", "cctr"}
    assert "cctr" in (tmp_path / "leaderboard.md").read_text()
    assert (tmp_path / "figures" / "acdc-smoke-run-test-label-efficiency.png").stat().st_size > 5000
    assert f"wrote {tmp_path / 'index.html'}, and " in result.stderr


def test_overlays_are_drawn_on_request_from_the_weights(
    call: Call, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    store, _ = finished
    result = bench("report", "--store", store, "--out", tmp_path, "--overlays")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "figures" / "acdc-smoke-run-test-cases-1.png").stat().st_size > 5000
    assert "images of patients" in (tmp_path / "index.html").read_text()
    lean = tmp_path / "lean"
    for record in store.glob("acdc/*/*/record.json"):
        files = {name: (record.parent / name).read_text() for name in ("record.json", "cases.csv")}
        CellFolder(lean / record.parent.relative_to(store)).finish(files)
    refused = call("report", "--store", lean, "--out", tmp_path / "none", "--overlays")
    assert refused.returncode == 2 and refused.stderr.startswith("error: --overlays: no store holds the weights")


def test_cells_of_older_data_in_the_store_do_not_hide_a_finished_grid(
    call: Call, small: Options, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(finished[0] / "acdc" / "cps", store / "acdc" / "cps")
    (now,) = (store / "acdc" / "cps").iterdir()
    record = json.loads((now / "record.json").read_text()) | {"cell": "older", "data_hash": "another"}
    files = {name: (now / name).read_text() for name in ("cases.csv", "history.csv")}
    CellFolder(now.with_name("older")).finish(files | {"record.json": json.dumps(record)})
    result = call("run", *small(store, "--methods", "cps", "--labels", "1"))
    assert result.returncode == 0 and "warning:" in result.stderr and "another" in result.stderr
    assert "cps" in result.stdout
    refused = call("report", "--store", store)
    assert refused.returncode == 2 and refused.stderr.startswith("error:")


def test_the_record_says_what_ran_it(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    store, _ = finished
    path = next(p for p in store.glob("acdc/cctr/*/record.json") if json.loads(p.read_text())["variant"] == "cctr")
    record = json.loads(path.read_text())
    assert record["labels"] == 1 and len(record["labelled"]) == 1 and record["parameters"] > 1000
    assert record["environment"]["torch"] and record["data_hash"] and record["command"].startswith("python -m benchmark run")
    history = pd.read_csv(path.with_name("history.csv"))
    assert {"supervised_a", "supervised_b", "exchange_a", "exchange_b", "contrast", "rsl", "validation"} <= set(history.columns)
    assert (history[["supervised_a", "contrast", "rsl"]] > 0).all().all()


def test_killed_in_the_middle_a_cell_continues_to_the_same_bits(
    small: Options, finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """kill -9 of the whole process group after the first checkpoint; the repeated command equals an undisturbed run."""
    options = ["--methods", "cctr", "--labels", "1", "--seeds", "3"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for store in (whole, broken):
        shutil.copytree(finished[0] / "cache", store / "cache")
    assert bench("run", *small(whole, *options)).returncode == 0
    process = subprocess.Popen(
        command("run", *small(broken, *options)), cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list(broken.rglob("checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list(broken.rglob("checkpoint")) and not list(broken.rglob(".done"))
    resumed = bench("run", *small(broken, *options))
    assert resumed.returncode == 0, resumed.stderr
    for name in ("model.safetensors", "cases.csv", "history.csv"):
        assert next(whole.rglob(name)).read_bytes() == next(broken.rglob(name)).read_bytes(), name


def test_ctrl_c_writes_a_checkpoint_and_the_command_goes_on(tmp_path: Path) -> None:
    arguments = [
        "run",
        "--protocol",
        "quick",
        "--store",
        tmp_path,
        "--tracking",
        "none",
        "--methods",
        "supervised",
        "--labels",
        "1",
    ]
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130 and "continues" in told and "Traceback" not in told
    assert list(tmp_path.rglob("checkpoint")) and not list(tmp_path.rglob(".done"))


def test_a_failing_cell_is_a_record_and_the_exit_code_says_so(small: Options, tmp_path: Path) -> None:
    result = bench("run", *small(tmp_path, "--methods", "cps[exchange=1e30],supervised", "--labels", "1"))
    assert result.returncode == 1
    assert "failed" in result.stderr and "Traceback" not in result.stderr
    outcomes = {json.loads(p.read_text())["method"]: json.loads(p.read_text()) for p in tmp_path.rglob("record.json")}
    assert outcomes["supervised"]["outcome"] == "done"
    assert outcomes["cps"]["outcome"] == "failed" and "step" in outcomes["cps"]["error"]


def corrupt_acdc(folder: Path) -> Path:
    (folder / "data" / "slices").mkdir(parents=True)
    names = {
        "train_slices.list": ["patient001_frame01_slice_1"],
        "val.list": ["patient002_frame01"],
        "test.list": ["patient003_frame01"],
    }
    for name, lines in names.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    (folder / "data" / "slices" / "patient001_frame01_slice_1.h5").write_bytes(b"this is no HDF5 file")
    for number in (2, 3):
        with h5py.File(folder / "data" / f"patient00{number}_frame01.h5", "w") as file:
            file["image"] = np.zeros((2, 32, 32), np.float32)
            file["label"] = np.zeros((2, 32, 32), np.uint8)
    return folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--methods", "ccrt"], ["'ccrt'", "did you mean 'cctr'"]),
        (["--dataset", "acdc", "--data", "no/such/folder"], ["no/such/folder"]),
        (["--dataset", "acdc", "--data", "CORRUPT"], ["patient001_frame01_slice_1.h5"]),
        (["--labels", "0"], ["--labels", "0"]),
        (["--labels", "999"], ["--labels", "999"]),
        (["--protocol", "fast"], ["'fast'", "quick"]),
        (["--dataset", "adcd"], ["'adcd'", "acdc"]),
        (["--device", "cuda:7"], ["--device", "cuda:7"]),
        (["--tracking", "nonsense://x"], ["--tracking", "nonsense://x"]),
    ],
)
def test_bad_input_is_one_clear_sentence_and_exit_code_2(
    call: Call, options: list[str], words: list[str], tmp_path: Path
) -> None:
    if "CORRUPT" in options:
        options = [*options[:-1], str(corrupt_acdc(tmp_path / "acdc"))]
    defaults = ["--methods", "supervised", "--labels", "1", "--protocol", "smoke", "--store", str(tmp_path / "store")]
    result = call("run", *defaults, *options)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    lines = [line for line in result.stderr.strip().splitlines() if not line.startswith("checking:")]
    assert len(lines) == 1 and lines[0].startswith("error:")
    assert all(word in lines[0] for word in words), lines[0]


def test_a_config_runs_as_a_file_of_options_and_a_bad_one_is_a_sentence(call: Call, small: Options, tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text("methods: [label_propagation, 'mean_teacher[rsl=true]']\nlabels: [1, 2]\nruns: 2\nprotocol: quick\n")
    options = small(tmp_path / "store", "--config", file, "--labels", "1", "--dry-run")
    result = call("run", *options)
    assert result.returncode == 0, result.stderr
    assert "4 cells, 0 done" in result.stdout and "smoke" in result.stdout and "quick" not in result.stdout
    file.write_text("metods: cctr\n")
    refused = call("run", "--config", file)
    assert refused.returncode == 2 and "Traceback" not in refused.stderr
    (line,) = refused.stderr.strip().splitlines()
    assert line.startswith("error:") and str(file) in line and "did you mean 'methods'" in line


@pytest.mark.parametrize(
    ("does", "heavy"),
    [
        (
            "sys.argv = ['benchmark', '--help']\n"
            "from benchmark.commands import main\n"
            "with contextlib.suppress(SystemExit):\n"
            "    main()",
            {"torch", "monai", "mlflow", "optuna", "pandas", "numpy"},
        ),
        ("import benchmark.study.session, methods.mean_teacher", {"monai", "mlflow", "optuna", "matplotlib"}),
    ],
    ids=["help", "runs"],
)
def test_what_is_not_needed_is_not_imported(does: str, heavy: set[str]) -> None:
    probe = (
        f"import contextlib, sys\n{does}\nfound = {heavy} & set(sys.modules)\nsys.exit(f'imported {{found}}' if found else 0)"
    )
    result = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_help_is_quick() -> None:
    """In CPU time, which other programs do not lengthen."""
    times = []
    for _ in range(5):
        began = machine_seconds()
        assert bench("--help").returncode == 0
        times.append(machine_seconds() - began)
    assert min(times) < 0.5, times


@pytest.mark.parametrize("what", ["methods", "datasets", "protocols"])
def test_ls(call: Call, what: str) -> None:
    result = call("ls", what)
    expected = {"methods": "cctr", "datasets": "acdc", "protocols": "quick"}[what]
    assert result.returncode == 0 and expected in result.stdout
    assert all(len(line.split()) > 1 for line in result.stdout.strip().splitlines())


@pytest.mark.slow
def test_the_phantom_is_learnable_and_one_case_is_not_enough(tmp_path: Path) -> None:
    """At `quick`, supervised with all cases reaches .80 DSC and stays at least .15 above supervised with one."""
    options = ["--methods", "supervised", "--labels", "1,all", "--protocol", "quick", "--store", tmp_path, "--tracking", "none"]
    assert bench("run", *options).returncode == 0
    scores = pd.read_csv(tmp_path / "report" / "leaderboard.csv").set_index("labels")["dsc"]
    assert scores[28] >= 0.80 and scores[1] <= scores[28] - 0.15, scores.to_dict()


VANDAL = """'''Methods that write into the data that they are given, one as numpy lets it, one as torch does.'''
import torch
from methods import register
from methods.supervised import Supervised

@register("scribbler")
class Scribbler(Supervised):
    def build(self, task):
        super().build(task)
        for volume in task.bank.volumes:
            volume.image[:] = 0.5

@register("vandal")
class Vandal(Supervised):
    def build(self, task):
        super().build(task)
        task.bank.label.zero_()
        for volume in task.bank.volumes:
            torch.from_numpy(volume.image).fill_(0.5)
            if volume.label is not None:
                torch.from_numpy(volume.label).fill_(1)
"""


def test_a_method_that_writes_into_its_data_changes_no_other_s(small: Options, tmp_path: Path) -> None:
    (tmp_path / "vandal.py").write_text(VANDAL)
    options = ["--labels", "2", "--launcher", "inline", "--plugin", tmp_path / "vandal.py", "--methods"]
    alone = bench("run", *small(tmp_path / "alone", *options, "supervised"))
    assert alone.returncode == 0, alone.stderr
    after = bench("run", *small(tmp_path / "after", *options, "scribbler,vandal,supervised"))
    assert after.returncode == 1 and "read-only" in after.stderr, after.stderr
    (vandal,) = (tmp_path / "after").glob("acdc/vandal/*/record.json")
    assert json.loads(vandal.read_text())["outcome"] == "done"
    (first,) = (tmp_path / "alone").glob("acdc/supervised/*/.done")
    second = tmp_path / "after" / first.relative_to(tmp_path / "alone")
    for name in ("model.safetensors", "history.csv", "cases.csv"):
        assert json.loads(first.read_text())[name] == json.loads(second.read_text())[name], name
