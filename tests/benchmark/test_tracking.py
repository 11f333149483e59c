"""MLflow as a mirror: everything a person looks for is there, twice adds nothing, and it can be rebuilt from records."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmark.cell.experiment import reported_network
from benchmark.ground.errors import BadInput
from benchmark.records.identity import Cell
from benchmark.records.store import CellFolder, Store
from benchmark.records.tracking import Follower, Mirror
from benchmark.records.tracking_place import EXPERIMENT, NAME, NONE, URI, Place, default_uri, where_installed
from benchmark.records.tracking_run import curves
from tests.datasets.layouts import acdc_slices

mlflow = pytest.importorskip("mlflow")


def record(cell: str, outcome: str, command: str = "python -m benchmark run --methods 'a[b=c]'") -> dict:
    common = {
        "cell": cell,
        "kind": "run",
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
        "draw_hash": "0",
        "protocol_hash": "0",
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


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty tracking database: to make its tables takes MLflow seconds."""
    file = tmp_path_factory.mktemp("blank") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(tmp_path: Path, blank: Path) -> Store:
    shutil.copy(blank, tmp_path)
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
    assert sorted(found["tags.kind"]) == ["command", "run", "run"]
    done = found[found["tags.cell"] == "one"].iloc[0]
    failed = found[found["tags.cell"] == "two"].iloc[0]
    parent = found[found["tags.kind"] == "command"].iloc[0]
    assert done["tags.mlflow.parentRunId"] == failed["tags.mlflow.parentRunId"] == parent["run_id"]
    assert parent["tags.command"].endswith("'a[b=c]'")
    assert (done["status"], failed["status"], parent["status"]) == ("FINISHED", "FAILED", "FAILED")
    assert done["params.exchange"] == "0.1" and done["params.labels"] == "3" and done["tags.variant"] == "cps"
    assert done["metrics.test/last/dsc"] == 0.25  # the reported network alone
    client = mlflow.MlflowClient()
    curve = client.get_metric_history(done["run_id"], "train/loss")
    assert [(point.step, point.value) for point in curve] == [(10, 2.0), (20, 1.0)]
    assert {a.path for a in client.list_artifacts(done["run_id"])} == {"cases.csv", "record.json", "training.png"}
    (used,) = client.get_run(done["run_id"]).inputs.dataset_inputs
    assert used.dataset.name == "phantom" and used.dataset.digest == "abc123"
    assert failed["tags.error"] == "Diverged: step 3"


def test_the_curve_shows_losses_and_not_what_else_the_history_tells() -> None:
    row = {"step": 10, "loss": 2.0, "rsl": 1.0, "gradient/rsl": 0.5, "anchors/labelled/1": 400.0, "validation": 0.5}
    losses, scores = curves(pd.DataFrame([row])).axes
    assert [line.get_label() for line in losses.lines] == ["loss", "rsl"] and len(scores.lines) == 1


def test_the_mirror_can_be_deleted_and_rebuilt(store: Store, tmp_path: Path, blank: Path) -> None:
    for name in ("a.db", "b.db"):
        shutil.copy(blank, tmp_path / name)
    first, second = Mirror(store, f"sqlite:///{tmp_path / 'a.db'}"), Mirror(store, f"sqlite:///{tmp_path / 'b.db'}")
    first.add_all()
    second.add_all()
    columns = ["tags.cell", "tags.kind", "metrics.test/last/dsc", "params.exchange", "status"]
    one, other = (runs(m.uri)[columns].sort_values(columns).reset_index(drop=True) for m in (first, second))
    pd.testing.assert_frame_equal(one, other)


def test_a_cell_that_ran_again_replaces_its_run(store: Store) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    cells = store.root / "phantom/cps"
    for folder, name in ((cells / "two", "two"), (cells / "one", "one")):
        files = {file: (cells / "one" / file).read_text().replace("0.25", "0.125") for file in ("cases.csv", "history.csv")}
        CellFolder(folder).finish(
            files | {"record.json": json.dumps(record(name, "done") | {"ended": "2026-01-02", "seconds": 2.0})}
        )
    mirror.add_all()
    found = runs(mirror.uri)
    again = found[found["tags.kind"] == "run"]
    assert sorted(again["tags.cell"]) == ["one", "two"] and set(again["tags.outcome"]) == {"done"}
    assert set(again["metrics.test/last/dsc"]) == {0.125}


def test_an_older_record_does_not_replace_a_newer_run(store: Store) -> None:
    path = store.root / "phantom/cps/two/record.json"
    path.write_text(json.dumps(record("two", "failed") | {"ended": "2026-01-02"}))
    mirror = Mirror(store, None)
    mirror.add_all()
    path.write_text(json.dumps(record("two", "failed") | {"ended": "2026-01-01", "error": "an older one"}))
    mirror.add_all()
    assert set(runs(mirror.uri)["tags.error"].dropna()) == {"Diverged: step 3"}


def test_secrets_of_older_records_do_not_travel(store: Store) -> None:
    command = "python -m benchmark run --tracking http://alice:S3cretPW@host/ --data /home/alice/ACDC"
    (store.root / "phantom/cps/two/record.json").write_text(json.dumps(record("two", "failed", command)))
    mirror = Mirror(store, None)
    mirror.add_all()
    found = runs(mirror.uri)
    assert not found.astype(str).apply(lambda column: column.str.contains("S3cretPW|/home/alice")).any().any()
    (run,) = mlflow.MlflowClient().search_runs(["1"], "tags.cell = 'two'")
    text = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/record.json")
    assert "S3cretPW" not in text and json.loads(text)["command"].endswith("--data ~/ACDC")


TOGETHER = """
import sys, time
from pathlib import Path
import mlflow
from benchmark.records.store import Store
from benchmark.records.tracking import Mirror
folder = Path(sys.argv[1])
(folder / f"ready {sys.argv[2]}").touch()
while len(list(folder.glob("ready *"))) < 3:
    time.sleep(0.01)
Mirror(Store(folder), None).connect()
"""


@pytest.mark.slow
def test_commands_that_start_together_on_a_fresh_store_all_track(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen([sys.executable, "-c", TOGETHER, tmp_path, str(number)], cwd=root, stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    for process in started:
        _, said = process.communicate(timeout=200)
        assert process.returncode == 0, said
    mlflow.set_tracking_uri(Mirror(Store(tmp_path), None).uri)
    assert [experiment.name for experiment in mlflow.search_experiments()].count(EXPERIMENT) == 1


def test_an_error_of_the_database_is_one_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def broken(self: object, client: object) -> str:
        raise OperationalError("ALTER TABLE metrics", {}, Exception("duplicate column name: step"))

    monkeypatch.setattr(Place, "find", broken)
    with pytest.raises(BadInput, match="--tracking") as error:
        Mirror(store, None).connect()
    assert "\n" not in str(error.value)


def test_files_are_attached_to_the_command(store: Store, tmp_path: Path) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    (tmp_path / "leaderboard.csv").write_text("x")
    mirror.add_summary(record("one", "done")["command"], [tmp_path / "leaderboard.csv"])
    found = runs(mirror.uri)
    parent = found[found["tags.kind"] == "command"].iloc[0]["run_id"]
    assert [a.path for a in mlflow.MlflowClient().list_artifacts(parent)] == ["leaderboard.csv"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (URI, NAME):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("text", ["none", *NONE, "NONE", "False", " off "])
def test_what_means_none_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert where_installed(text, pytest.fail) == "none"
    monkeypatch.setenv(URI, text)
    assert where_installed(None, lambda note: None) == "none"


def test_mlflow_s_own_variables_count(store: Store, tmp_path: Path, blank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store.root / "mlflow.db").unlink()
    shutil.copy(blank, tmp_path / "central.db")
    notes: list[str] = []
    assert where_installed(None, notes.append) is None and where_installed("", notes.append) is None and not notes
    uri = f"sqlite:///{tmp_path / 'central.db'}"
    monkeypatch.setenv(URI, uri)
    monkeypatch.setenv(NAME, "ours")
    assert where_installed(None, notes.append) == uri and URI in notes[0]
    assert where_installed("sqlite:///x.db", pytest.fail) == "sqlite:///x.db", "what is typed goes before"
    for named, experiment in ((None, "ours"), ("mine", "mine")):
        Mirror(store, uri, named).add_all()
        mlflow.set_tracking_uri(uri)
        assert len(mlflow.search_runs(experiment_names=[experiment])) == 3
    assert not (store.root / "mlflow.db").exists()


def test_a_deleted_experiment_is_told_with_its_remedy(store: Store) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    client = mlflow.MlflowClient(mirror.uri)
    client.delete_experiment("1")
    with pytest.raises(BadInput, match=r"was deleted in MLflow.*mlflow experiments restore -x 1.*gc.*name another"):
        Mirror(store, None).connect()
    Mirror(store, None, "another").add_all()
    client.restore_experiment("1")
    Mirror(store, None).add_all()
    assert len(runs(mirror.uri)) == 3


@pytest.mark.parametrize("name", ["what?", "a#b", "50%25", "my runs \u00e9"])
def test_any_name_of_a_folder_holds_its_own_file(store: Store, tmp_path: Path, blank: Path, name: str) -> None:
    root = tmp_path / "x" / name
    root.mkdir(parents=True)
    (store.root / "phantom").rename(root / "phantom")
    shutil.copy(blank, root)
    mirror = Mirror(Store(root), None)
    mirror.add_all()
    assert {path.name for path in root.parent.iterdir()} == {name}
    assert (root / "mlflow.db").read_bytes() != blank.read_bytes()
    found = runs(mirror.uri)
    assert len(found) == 3 and list((root / "mlflow" / "artifacts").rglob("training.png"))
    client = mlflow.MlflowClient(mirror.uri)
    done = found[found["tags.cell"] == "one"].iloc[0]["run_id"]
    assert "training.png" in {a.path for a in client.list_artifacts(done)}
    assert Path(client.download_artifacts(done, "record.json")).exists()


def test_a_plain_path_needs_nothing() -> None:
    assert default_uri(Path("/srv/my runs")) == "sqlite:////srv/my runs/mlflow.db"


@pytest.mark.parametrize("uri", ["postgresql+psycopg2://u@host/db", "mysql://host/db"])
def test_files_of_a_database_lie_in_the_store(store: Store, uri: str) -> None:
    class Client:
        def get_experiment_by_name(self, name: str) -> None:
            assert name == EXPERIMENT

        def create_experiment(self, name: str, artifact_location: str, tags: dict[str, str]) -> str:
            assert artifact_location == (store.root / "mlflow" / "artifacts").as_uri()
            return "1"

    assert Place(store, uri, EXPERIMENT).find(Client()) == "1"
    assert Place(store, "http://host:5000", EXPERIMENT)._artifacts() is None, "a server says where"


def change(store: Store, cell: str, **changes: object) -> None:
    file = store.root / "phantom/cps" / cell / "record.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_points_of_a_curve_have_their_times(store: Store) -> None:
    change(store, "one", seconds=100.0, ended="2026-03-01T12:00:00+00:00")
    mirror = Mirror(store, None)
    mirror.add_all()
    found = runs(mirror.uri)
    run = mlflow.MlflowClient().get_run(found[found["tags.cell"] == "one"].iloc[0]["run_id"])
    ended = 1772366400000
    assert (run.info.start_time, run.info.end_time) == (ended - 100_000, ended)
    points = mlflow.MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [(point.step, point.timestamp) for point in points] == [(10, ended - 50_000), (20, ended)]


def test_a_command_with_a_failed_cell_has_failed_until_it_is_mended(store: Store) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    (parent,) = mlflow.MlflowClient(mirror.uri).search_runs(["1"], "tags.kind = 'command'")
    assert parent.info.status == "FAILED"
    files = {name: (store.root / "phantom/cps/one" / name).read_text() for name in ("cases.csv", "history.csv")}
    again = record("two", "done") | {"ended": "2027-01-01T00:00:00+00:00"}
    CellFolder(store.root / "phantom/cps/two").finish(files | {"record.json": json.dumps(again)})
    Mirror(store, None).add_all()
    (parent,) = mlflow.MlflowClient(mirror.uri).search_runs(["1"], "tags.kind = 'command'")
    assert parent.info.status == "FINISHED"


def test_long_hashes_and_odd_names_go_in(store: Store) -> None:
    change(store, "one", data_hash="f" * 128, hparams={f"p{n}": "x" * 7000 for n in range(150)} | {"a[b]": 1})
    cases = store.root / "phantom/cps/one/cases.csv"
    cases.write_text(cases.read_text().replace("test,001", "test [b]!,001"))
    mirror = Mirror(store, None)
    assert mirror.add_all() == []
    found = runs(mirror.uri)
    done = found[found["tags.cell"] == "one"].iloc[0]
    assert done["params.a_b_"] == "1" and done["params.p149"].startswith("xxx") and done["metrics.test _b__/last/dsc"] == 0.25
    (used,) = mlflow.MlflowClient().get_run(done["run_id"]).inputs.dataset_inputs
    assert used.dataset.digest == "f" * 36


@pytest.mark.parametrize("file", ["history.csv", "cases.csv"])
def test_one_bad_record_leaves_itself_out(store: Store, file: str) -> None:
    CellFolder(store.root / "phantom/cps/three").finish(
        {name: (store.root / "phantom/cps/one" / name).read_text() for name in ("cases.csv", "history.csv")}
        | {"record.json": json.dumps(record("three", "done"))}
    )
    (store.root / "phantom/cps/one" / file).write_text('"no table')
    mirror = Mirror(store, None)
    (sentence,) = mirror.add_all()
    assert "phantom/cps/one cannot be tracked" in sentence and "\n" not in sentence
    assert sorted(runs(mirror.uri)["tags.cell"].dropna()) == ["three", "two"], "nothing half-way"
    warnings: list[str] = []
    follower = Follower(mirror, warnings.append)
    for folder in store.folders():
        follower.add(folder)
    follower.close()
    assert len(warnings) == 1 and "left out" in warnings[0] and not follower.broken.is_set()


def test_two_processes_that_look_at_once_make_one_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Mirror(store, None), Mirror(store, None)
    find = Mirror._find

    def at_once(self: Mirror, client: object, tags: dict[str, str], limit: int = 1) -> list:
        """The first time that a mirror looks, the other adds all just after."""
        found = find(self, client, tags, limit)
        if self is one and not at_once.done:  # type: ignore[attr-defined]
            at_once.done = True  # type: ignore[attr-defined]
            other.add_all()
        return found

    at_once.done = False  # type: ignore[attr-defined]
    monkeypatch.setattr(Mirror, "_find", at_once)
    one.add_all()
    assert sorted(runs(one.uri)["tags.kind"]) == ["command", "run", "run"]


def test_curves_go_to_tensorboard(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from benchmark.records.tensorboard import to_tensorboard

    change(store, "one", seconds=100.0, ended="2026-03-01T12:00:00+00:00")
    for _ in range(2):  # the second time writes the same anew
        assert to_tensorboard(store, tmp_path / "events") == (1, [])
    (folder,) = (tmp_path / "events" / "phantom").iterdir()
    read = EventAccumulator(str(folder)).Reload()
    assert [(e.step, e.value, e.wall_time) for e in read.Scalars("train/loss")] == [
        (10, 2.0, 1772366350.0),
        (20, 1.0, 1772366400.0),
    ]
    assert [e.value for e in read.Scalars("test/last/dsc")] == [0.25]
    (store.root / "phantom/cps/one/history.csv").write_text('"no table')
    written, (problem,) = to_tensorboard(store, tmp_path / "events")
    assert written == 0 and "phantom/cps/one" in problem


def test_what_a_command_found_stands_in_its_run(store: Store, tmp_path: Path) -> None:
    mirror = Mirror(store, None)
    (tmp_path / "trials.csv").write_text("x")
    for rate in (0.5, 0.7):
        mirror.add_summary("tune", [tmp_path / "trials.csv"], {"cps 1 labelled/learning_rate": rate}, {"cps[a=1]/best": rate})
    (parent,) = mlflow.MlflowClient(mirror.uri).search_runs(["1"])
    assert parent.data.params == {"cps 1 labelled/learning_rate": "0.5"} and parent.data.metrics == {"cps_a_1_/best": 0.7}
    assert parent.data.tags["cps 1 labelled/learning_rate"] == "0.7"


def test_none_means_no_tracking(store: Store, blank: Path) -> None:
    Mirror(store, "none").add_all()
    Mirror(store, "none").connect()
    assert (store.root / "mlflow.db").read_bytes() == blank.read_bytes()


@pytest.mark.parametrize("uri", ["nonsense://x", "sqlite:////proc/no/x.db"])
def test_a_server_that_cannot_be_used_is_one_sentence(store: Store, uri: str) -> None:
    with pytest.raises(BadInput, match="--tracking") as error:
        Mirror(store, uri).connect()
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real tracking server."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/db"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *options, "--artifacts-destination", str(folder / "artifacts")],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    uri = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{uri}/health", timeout=2)
            break
        except OSError:
            time.sleep(0.3)
    yield uri, process
    stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def test_a_real_server_gets_everything_once_and_its_death_costs_a_warning(
    store: Store, server: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    uri, process = server
    mirror = Mirror(store, uri)
    for _ in range(2):
        mirror.add_all()
    found = runs(uri)
    assert sorted(found["tags.kind"]) == ["command", "run", "run"]
    client = mlflow.MlflowClient(uri)
    one = found[found["tags.cell"] == "one"].iloc[0]
    assert {a.path for a in client.list_artifacts(one["run_id"])} == {"cases.csv", "record.json", "training.png"}
    warnings: list[str] = []
    follower = Follower(mirror, warnings.append)
    stop(process)
    began = time.monotonic()
    for _ in range(5):
        follower.add(store.folders()[0])
    assert time.monotonic() - began < 1, "the caller does not wait"
    follower.close()
    assert time.monotonic() - began < 60 and len(warnings) == 1 and "catches up from the records" in warnings[0]
    assert f"--tracking {uri}" in warnings[0]


def test_a_run_that_was_left_half_way_is_mirrored_again(store: Store) -> None:
    mirror = Mirror(store, None)
    mirror.add_all()
    client = mlflow.MlflowClient(mirror.uri)
    (half,) = client.search_runs(["1"], "tags.cell = 'one'")
    client.update_run(half.info.run_id, status="RUNNING")
    mirror.add_all()
    (other,) = client.search_runs(["1"], "tags.cell = 'one'")
    assert other.info.run_id == half.info.run_id, "another process may be at it"
    client.set_tag(half.info.run_id, "mirrored", str(time.time() - 100))
    mirror.add_all()
    (again,) = client.search_runs(["1"], "tags.cell = 'one'")
    assert again.info.run_id != half.info.run_id and again.info.status == "FINISHED"


def test_without_a_server_the_grid_runs_and_track_catches_up_with_the_best_model(tmp_path: Path) -> None:
    acdc_slices(tmp_path / "acdc")
    store, uri = tmp_path / "store", f"sqlite:///{tmp_path / 'late.db'}"
    grid = ["--dataset", "acdc", "--data", tmp_path / "acdc", "--protocol", "smoke", "--store", store]
    methods = ["--methods", "supervised,entropy_min", "--labels", "1"]

    def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmark", *map(str, arguments)]
        root = Path(__file__).parents[2]
        return subprocess.run(
            command, cwd=root, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"}
        )

    dead = bench("run", *grid, *methods, "--tracking", "http://127.0.0.1:9")
    assert dead.returncode == 0 and dead.stderr.count("tracking stops here") == 1, dead.stderr
    late = bench("track", "--store", store, "--tracking", uri)
    assert late.returncode == 0 and uri in late.stdout, late.stderr
    model = bench("run", *grid, *methods, "--tracking", uri, "--register", "best")
    assert model.returncode == 0 and "registered as model best version 1" in model.stderr, model.stderr
    assert "version 1 is this cell already" in bench("run", *grid, *methods, "--tracking", uri, "--register", "best").stderr
    assert sorted(runs(uri)["tags.kind"]) == ["command", "run", "run"]
    loaded = mlflow.pytorch.load_model("models:/best/1")
    records = {record["cell"]: (record, folder) for folder in Store(store).folders() if (record := folder.record())}
    registered, best = records[mlflow.MlflowClient().get_model_version("best", "1").tags["cell"]]
    assert registered["validation_last"] == max(record["validation_last"] for record, _ in records.values())
    cell = Cell(**json.loads((best.path / "cell.json").read_text()), data=tmp_path / "acdc")
    network, shape = reported_network(cell, Store(store))
    for slices in (1, 5):
        images = torch.randn(slices, *shape)
        torch.testing.assert_close(loaded(images), network(images))


def test_the_machine_s_load_is_tracked_on_request(store: Store) -> None:
    pytest.importorskip("psutil")
    mirror = Mirror(store, None)
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"] = "0.2"
    os.environ["MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING"] = "1"
    command = record("one", "done")["command"]
    with mirror.system_metrics(command):
        time.sleep(2)
    (parent,) = mlflow.MlflowClient(mirror.uri).search_runs(["1"], "tags.kind = 'command'")
    assert parent.data.metrics["system/system_memory_usage_megabytes"] > 0 and parent.info.status == "FINISHED"
