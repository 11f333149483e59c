"""The benchmark from Python: the same records and sentences as on the command line, in pandas."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import benchmark
from benchmark.records.store import Store
from benchmark.records.table import collect
from reports.tables.leaderboard import leaderboard
from tests.datasets.layouts import acdc_slices


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[benchmark.Runs, Path]:
    """What `run` returned, and the folder of store and data."""
    root = tmp_path_factory.mktemp("interface")
    acdc_slices(root / "data")
    made = benchmark.run(
        ["supervised", "entropy_min"],
        [1],
        dataset="acdc",
        data=root / "data",
        protocol="smoke[steps=40]",
        store=root / "store",
        seeds=[0, 1],
        device="cpu",
        tracking="none",
    )
    return made, root


def test_run_gives_the_tables_of_its_records(runs: tuple[benchmark.Runs, Path]) -> None:
    made, root = runs
    records = collect(Store(root / "store"))
    pd.testing.assert_frame_equal(made.leaderboard(), leaderboard(records))
    assert repr(made) == "Runs(4 done)" and len(made.cells()) == 4 and made.notes == ()
    assert (root / "store" / "report" / "leaderboard.csv").exists()
    assert set(made.cells()["command"].map(lambda text: text.split("(")[0])) == {"benchmark.run"}
    again = benchmark.run(
        "supervised", "1", dataset="acdc", data=root / "data", protocol="smoke[steps=40]", store=root / "store", tracking="none"
    )
    assert len(again.cells()) == 1 and len(benchmark.open(root / "store").cells()) == 4


def test_cases_are_the_long_table_with_what_each_row_belongs_to(runs: tuple[benchmark.Runs, Path]) -> None:
    made, root = runs
    cases = made.cases()
    files = sum(len(pd.read_csv(file)) for file in (root / "store").glob("acdc/*/*/cases.csv"))
    assert len(cases) == files and {"variant", "labels", "draw", "seed", "case", "class", "metric", "value"} <= set(cases)
    mine = cases[(cases["variant"] == "supervised") & (cases["metric"] == "dsc") & (cases["selection"] == "last")]
    (row,) = made.leaderboard().query("variant == 'supervised'").to_dict("records")
    assert mine["value"].mean() == pytest.approx(row["dsc"])
    made.cells().pop("cell")
    assert "cell" in made.cells()


def test_compare_pairs_runs_and_cases(runs: tuple[benchmark.Runs, Path]) -> None:
    made, _ = runs
    if made.leaderboard()["runs_unconverged"].any():
        with pytest.raises(benchmark.BadInput, match="have not converged"):
            made.compare("entropy_min")
        return
    (row,) = made.compare("entropy_min").to_dict("records")
    board = made.leaderboard().set_index("variant")["dsc"]
    assert row["shift"] == pytest.approx(board["entropy_min"] - board["supervised"]) and row["paired_runs"] == 2
    assert row["baseline"] == "supervised" and row["labels"] == 1 and row["test_set"] == "test"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: benchmark.open("nowhere"), "--store: there is no folder nowhere"),
        (lambda: benchmark.run("supervise"), "no method is called 'supervise'; did you mean 'supervised'"),
        (lambda: benchmark.run("supervised", labels=[99]), "--labels: 99 cases cannot be labelled"),
        (lambda: benchmark.run("supervised", protocol="quik"), "no protocol is called 'quik'"),
        (lambda: benchmark.run("supervised", launcher="moon"), "launcher: found 'moon'; expected one of inline, devices"),
        (lambda: benchmark.run("supervised", seed=[1]), "run has no option seed"),
        (lambda: benchmark.run("supervised", runs=2, seeds=[1]), "expected either --runs, or --draws and --seeds"),
        (lambda: benchmark.run("supervised", folds="loo"), "--folds: phantom has a test set"),
    ],
)
def test_errors_are_the_command_line_s_sentences(call: object, told: str) -> None:
    with pytest.raises(benchmark.BadInput) as raised:
        call()  # type: ignore[operator]
    assert told in str(raised.value)


def test_the_package_is_light_to_import_and_says_what_it_offers() -> None:
    code = (
        "import sys, benchmark; assert dir(benchmark) == ['BadInput', 'Runs', 'open', 'run'];"
        "heavy = {'torch', 'pandas', 'numpy', 'typer', 'rich', 'pydantic'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
