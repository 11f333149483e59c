"""Results of other code: told, run again or kept and marked, never averaged; all through the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from benchmark.ground import registry
from benchmark.records import fingerprint
from tests.datasets.layouts import acdc_slices
from tests.integration.test_command_line import Call, call  # noqa: F401 - a fixture

PLUGIN = '''
"""A plug-in whose loss changes while its results lie in a store."""
from methods import register
from methods.supervised import Supervised


@register("mine")
class Mine(Supervised):
    """Supervised, by a factor."""

    def losses(self, batch, step):
        {trap}
        return {{name: {factor} * term for name, term in super().losses(batch, step).items()}}
'''


class Desk:
    """A store, a plug-in that can be edited, and the command line."""

    def __init__(self, folder: Path, call: Call) -> None:  # noqa: F811
        self.call = call
        self.store, self.plugin, self.data = folder / "store", folder / "mine.py", folder / "acdc"
        acdc_slices(self.data)
        self.uri = f"sqlite:///{folder / 'central.db'}"
        self.write(1)

    def write(self, factor: int, trap: str = "pass") -> None:
        self.plugin.write_text(PLUGIN.format(factor=factor, trap=trap))

    def bench(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """As a fresh process would: with the plug-in as it is now, or without it."""
        for name in [name for name in sys.modules if name.startswith("benchmark_plugin_mine")]:
            del sys.modules[name]
        registry._registered.pop("mine", None)
        os.environ.pop(registry.PLUGINS, None)
        for cached in (registry._from_files, fingerprint._source, fingerprint._method_code):
            cached.cache_clear()
        return self.call(*arguments)

    def run(
        self, *more: object, methods: str = "mine", seeds: str = "0", command: str = "run"
    ) -> subprocess.CompletedProcess[str]:
        named = ["--methods", methods] if command == "run" else ["--method", "mine", "--factors", "learning_rate=1|2"]
        grid = ["--dataset", "acdc", "--data", self.data, "--protocol", "smoke", "--labels", "1", "--seeds", seeds]
        where = ["--plugin", self.plugin, "--store", self.store, "--launcher", "inline", "--tracking", self.uri]
        return self.bench(command, *named, *grid, *where, *more)

    def records(self) -> dict[tuple[str, int], dict]:
        found = [json.loads(path.read_text()) for path in self.store.glob("acdc/*/*/record.json")]
        return {(record["variant"], record["seed"]): record for record in found}


@pytest.fixture
def desk(tmp_path: Path, call: Call) -> Desk:  # noqa: F811
    return Desk(tmp_path, call)


def test_a_changed_loss_outdates_the_cells_of_its_method_alone(desk: Desk) -> None:
    first = desk.run(methods="mine,supervised")
    assert first.returncode == 0, first.stderr
    before = desk.records()
    desk.plugin.write_text("# a comment\n" + desk.plugin.read_text().replace("        return", "\n        return"))
    same = desk.run(methods="mine,supervised")
    assert "2 of 2 cells are done already" in same.stderr and "other code" not in same.stderr and desk.records() == before

    desk.write(3)
    listed = desk.bench("ls", "cells", "--store", desk.store, "--plugin", desk.plugin)
    assert "1 done, 1 outdated" in listed.stderr and "the method has changed" in listed.stdout
    unknown = desk.bench("ls", "cells", "--store", desk.store)
    assert "2 done" in unknown.stderr and "--plugin names its file" in unknown.stdout
    planned = desk.run("--dry-run", methods="mine,supervised")
    assert "2 cells, 1 done" in planned.stdout and "outdated" in planned.stdout and desk.records() == before

    kept = desk.run("--stale", "keep", methods="mine,supervised")
    assert "2 of 2 cells are done already" in kept.stderr and "used as they are" in kept.stderr and "1/1†" in kept.stdout
    assert desk.records() == before

    renewed = desk.run(methods="mine,supervised")
    assert renewed.returncode == 0, renewed.stderr
    assert "1 finished cell of mine" in renewed.stderr and "the method has changed" in renewed.stderr
    assert "--stale keep" in renewed.stderr and "†" not in renewed.stdout
    after = desk.records()
    assert after["supervised", 0] == before["supervised", 0]
    assert after["mine", 0]["code_hash"] != before["mine", 0]["code_hash"]

    mlflow.set_tracking_uri(desk.uri)
    runs = mlflow.search_runs(search_all_experiments=True)
    mine = runs[runs["tags.variant"] == "mine"]
    assert mine["tags.code_hash"].tolist() == [after["mine", 0]["code_hash"]]  # the run was replaced


def test_runs_of_two_codes_do_not_share_a_row(desk: Desk) -> None:
    assert desk.run(seeds="0").returncode == 0
    desk.write(3)
    both = desk.run("--stale", "keep", seeds="0,1")
    assert both.returncode == 0 and "1/1" in both.stdout and "2/2" not in both.stdout, both.stdout
    newest = desk.bench("report", "--store", desk.store)
    assert newest.returncode == 0 and "made by different code" in newest.stderr and "1/1" in newest.stdout
    everything = desk.bench("report", "--store", desk.store, "--code", "all")
    old = desk.records()["mine", 0]["code_hash"]
    assert old in everything.stdout and newest.stdout.count("mine") < everything.stdout.count("mine")
    again = desk.bench(
        "retry", "--stale", "--store", desk.store, "--data", desk.data, "--plugin", desk.plugin, "--tracking", "none"
    )
    assert again.returncode == 0, again.stderr
    assert len({record["code_hash"] for record in desk.records().values()}) == 1
    done = desk.bench("retry", "--stale", "--store", desk.store, "--data", desk.data, "--plugin", desk.plugin)
    assert "nothing to do" in done.stderr


def test_a_checkpoint_of_other_code_is_not_resumed(desk: Desk, tmp_path: Path) -> None:
    trap = 'assert step.index != 15, "stop here"'
    desk.write(1, trap)
    broken = desk.run()
    assert broken.returncode == 1 and "stop here" in broken.stderr
    assert list(desk.store.glob("acdc/mine/*/checkpoint"))
    desk.write(5)
    mended = desk.run()
    assert mended.returncode == 0, mended.stderr
    (tmp_path / "fresh").mkdir()
    fresh = Desk(tmp_path / "fresh", desk.call)
    fresh.write(5)
    assert fresh.run().returncode == 0
    (ours,), (other,) = (list(d.store.glob("acdc/mine/*/model.safetensors")) for d in (desk, fresh))
    assert ours.read_bytes() == other.read_bytes()


def test_again_runs_finished_cells_again_and_secrets_stay_out_of_records(desk: Desk) -> None:
    assert desk.run().returncode == 0
    before = desk.records()["mine", 0]
    again = desk.run("--again", "--tracking", "http://alice:S3cretPW@127.0.0.1:9/")
    assert again.returncode == 0 and "S3cretPW" not in again.stderr + again.stdout, again.stderr
    after = desk.records()["mine", 0]
    assert after["ended"] >= before["ended"] and "--again" in after["command"]
    texts = [
        path.read_text(errors="replace")
        for path in desk.store.rglob("*")
        if path.is_file() and path.suffix in (".json", ".csv", ".md")
    ]
    assert not any("S3cretPW" in text for text in texts) and "http://***@127.0.0.1:9/" in after["command"]
    both = desk.run("--again", "--stale", "keep")
    assert both.returncode == 2 and "--again" in both.stderr


def test_exports_merge_report_and_count_as_done(desk: Desk, tmp_path: Path) -> None:
    assert desk.run(methods="mine,supervised").returncode == 0
    out, merged = tmp_path / "out", tmp_path / "merged"
    assert "2 added" in desk.bench("export", "--store", desk.store, "--out", out).stdout
    assert "2 added" in desk.bench("import", out, "--store", merged).stdout
    desk.store = merged
    assert "2 of 2 cells are done already" in desk.run("--tracking", "none", methods="mine,supervised").stderr
    assert desk.bench("report", "--store", merged).returncode == 0
    table = next(merged.glob("acdc/mine/*/cases.csv"))
    assert "0 added, 0 renewed, 2 there already" in desk.bench("import", out, "--store", merged).stdout
    table.write_text(table.read_text() + "test,x,x_1,lv,network,last,dsc,0.5\n")
    refused = desk.bench("export", "--store", merged, "--out", tmp_path / "again")
    assert refused.returncode == 1 and "cases.csv is not as it was written" in refused.stderr
