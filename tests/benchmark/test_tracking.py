"""MLflow as a mirror: everything a person looks for is there, twice adds nothing, and it can be rebuilt from records."""

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmark.errors import BadInput
from benchmark.store import CellFolder, Store
from benchmark.tracking import EXPERIMENT, Mirror

mlflow = pytest.importorskip("mlflow")


def record(cell: str, outcome: str, command: str = "python -m benchmark run --methods 'a[b=c]'") -> dict:
    common = {
        "cell": cell,
        "dataset": "phantom",
        "method": "cps",
        "variant": "cps",
        "labels": 3,
        "draw": 0,
        "seed": 0,
        "protocol": "smoke",
        "steps": 20,
        "command": command,
        "hparams": {"exchange": 0.1},
        "labelled": ["c1", "c2", "c3"],
        "data_hash": "abc123",
        "code_hash": "def",
        "environment": {"revision": "0123"},
        "outcome": outcome,
    }
    if outcome == "failed":
        return common | {"error": "Diverged: step 3"}
    return common | {
        "seconds": 1.5,
        "parameters": 10,
        "reported": "a",
        "validation": 0.5,
        "best_step": 20,
        "peak_memory_mb": 3.0,
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    cases = "test_set,case,volume,class,network,selection,metric,value\n" + "".join(
        f"test,001,001_a,lv,{network},last,dsc,{value}\n" for network, value in (("a", 0.25), ("b", 0.75))
    )
    history = "step,loss,supervised_a,validation\n10,2.0,2.0,\n20,1.0,1.0,0.5\n"
    files = {"cases.csv": cases, "history.csv": history}
    CellFolder(tmp_path / "phantom/cps/one").finish(files | {"record.json": json.dumps(record("one", "done"))})
    CellFolder(tmp_path / "phantom/cps/two").write("record.json", json.dumps(record("two", "failed")))
    return Store(tmp_path)


def runs(uri: str) -> pd.DataFrame:
    mlflow.set_tracking_uri(uri)
    found = mlflow.search_runs(experiment_names=[EXPERIMENT])
    assert isinstance(found, pd.DataFrame)
    return found


def test_records_are_mirrored_once_with_all_that_people_look_for(store: Store) -> None:
    mirror = Mirror(store, None)
    for _ in range(2):  # the second time adds nothing
        mirror.add_all()
    found = runs(mirror.uri)
    assert sorted(found["tags.kind"]) == ["cell", "cell", "command"]
    done = found[found["tags.cell"] == "one"].iloc[0]
    failed = found[found["tags.cell"] == "two"].iloc[0]
    parent = found[found["tags.kind"] == "command"].iloc[0]
    assert done["tags.mlflow.parentRunId"] == failed["tags.mlflow.parentRunId"] == parent["run_id"]
    assert parent["tags.command"].endswith("'a[b=c]'")
    assert (done["status"], failed["status"], parent["status"]) == ("FINISHED", "FAILED", "FINISHED")
    assert done["params.exchange"] == "0.1" and done["params.labels"] == "3" and done["tags.variant"] == "cps"
    assert done["metrics.test/last/dsc"] == 0.25  # the reported network alone
    client = mlflow.MlflowClient()
    curve = client.get_metric_history(done["run_id"], "train/loss")
    assert [(point.step, point.value) for point in curve] == [(10, 2.0), (20, 1.0)]
    assert {a.path for a in client.list_artifacts(done["run_id"])} == {"cases.csv", "record.json", "training.png"}
    (used,) = client.get_run(done["run_id"]).inputs.dataset_inputs
    assert used.dataset.name == "phantom" and used.dataset.digest == "abc123"
    assert failed["tags.error"] == "Diverged: step 3"


def test_the_mirror_can_be_deleted_and_rebuilt(store: Store, tmp_path: Path) -> None:
    first, second = Mirror(store, f"sqlite:///{tmp_path / 'a.db'}"), Mirror(store, f"sqlite:///{tmp_path / 'b.db'}")
    first.add_all()
    second.add_all()
    columns = ["tags.cell", "tags.kind", "metrics.test/last/dsc", "params.exchange", "status"]
    one, other = (runs(m.uri)[columns].sort_values(columns).reset_index(drop=True) for m in (first, second))
    pd.testing.assert_frame_equal(one, other)


def test_a_cell_that_failed_first_and_then_finished_is_there_as_both(store: Store) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    (store.root / "phantom/cps/two/record.json").write_text(json.dumps(record("two", "failed") | {"outcome": "failed"}))
    mirror.add_all()
    assert len(runs(mirror.uri)) == 3


def test_files_are_attached_to_the_command(store: Store, tmp_path: Path) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    (tmp_path / "leaderboard.csv").write_text("x")
    mirror.add_files(record("one", "done")["command"], [tmp_path / "leaderboard.csv"])
    found = runs(mirror.uri)
    parent = found[found["tags.kind"] == "command"].iloc[0]["run_id"]
    assert [a.path for a in mlflow.MlflowClient().list_artifacts(parent)] == ["leaderboard.csv"]


def test_none_means_no_tracking(store: Store) -> None:
    Mirror(store, "none").add_all()
    Mirror(store, "none").connect()
    assert not list(store.root.glob("mlflow.db"))


@pytest.mark.parametrize("uri", ["nonsense://x", "sqlite:////proc/no/x.db"])
def test_a_server_that_cannot_be_used_is_one_sentence(store: Store, uri: str) -> None:
    with pytest.raises(BadInput, match="--tracking") as error:
        Mirror(store, uri).connect()
    assert "\n" not in str(error.value)
