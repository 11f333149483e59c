"""`check` passes what is right and finds each planted bug."""

import os
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.conformance import check
from benchmark.ground import registry
from datasets.dataset import Volume
from datasets.slices import Batch
from methods.bases.one_network import OneNetwork, View
from methods.cps import CPS
from methods.fixmatch import FixMatch
from methods.label_propagation import LabelPropagation
from methods.mean_teacher import MeanTeacher
from methods.method import Method, Step, tunable
from methods.parts.losses import most_likely, supervised_loss
from methods.parts.views import strong_view
from methods.supervised import Supervised

ROOT = Path(__file__).parents[2]


class SameOutput(MeanTeacher):
    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        return {"consistency": F.mse_loss(view.probabilities, view.probabilities)}


class StillTeacher(MeanTeacher):
    def after_step(self, step: Step) -> None:
        pass


class ForgottenBuffers(MeanTeacher):
    def after_step(self, step: Step) -> None:
        with torch.no_grad():
            for kept, new in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, 0.5)


class LeftInEvaluation(MeanTeacher):
    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        self.teacher.eval()
        return super().extra(view, batch, step)


class WrongAxis(Supervised):
    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"network": torch.softmax(self.network(image), 2)}


class NotDetached(OneNetwork):
    class Hparams(OneNetwork.Hparams):
        weights: ClassVar = ("consistency",)
        consistency: float = tunable(0.1, low=0.01, high=1, doc="weight")

    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        mirrored = torch.softmax(self.network(batch.image[batch.labelled :].flip(-1)), 1)
        return {"consistency": self.hp.consistency * F.mse_loss(mirrored, view.probabilities.flip(-1))}


class NotDetachedPair(CPS):
    def base_terms(self, views, batch: Batch, step: Step) -> dict[str, Tensor]:
        terms = super().base_terms(views, batch, step)
        n = batch.labelled
        if self.hp.exchange:
            terms["exchange_a"] = self.hp.exchange * F.mse_loss(views.probabilities[0][n:], views.probabilities[1][n:])
        return terms


class SeesMasks(FixMatch):
    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        masks = self.task.bank.label[batch.slice[batch.labelled :]].long()
        return {"consistency": self.hp.consistency * supervised_loss(view.logits[batch.labelled :], masks.clamp(max=3))}


class UnsureIsBackground(FixMatch):
    def extra(self, view: View, batch: Batch, step: Step) -> dict[str, Tensor]:
        confidence, label = most_likely(view.probabilities)
        label = label.where(confidence >= self.hp.threshold, 0)
        logits = self.network(strong_view(batch.image[batch.labelled :]))
        return {"consistency": self.hp.consistency * step.ramp * supervised_loss(logits, label)}


class ForgetsItsWeight(MeanTeacher):
    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        terms = super().losses(batch, step)
        return terms | {"supervised": 2 * terms["supervised"]}


class StateOutsideBuffers(Supervised):
    count = 0

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self.count += 1
        return {name: value * self.count for name, value in super().losses(batch, step).items()}


class OwnGenerator(MeanTeacher):
    generator = torch.Generator()

    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        share = 1 + torch.rand((), generator=self.generator)
        return {name: value * share for name, value in super().losses(batch, step).items()}


class FourClasses(Supervised):
    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return {"network": torch.softmax(self.network(image)[:, :4], 1)}


class UnusedNetwork(Supervised):
    def build(self, task) -> None:
        super().build(task)
        self.other = task.unet()


class NoMinimum(Supervised):
    class Hparams(Method.Hparams):
        rate: float = tunable(0.1, low=0.01, high=1, minimum=-float("inf"), doc="anything goes")


class DefaultOutside(Supervised):
    class Hparams(Method.Hparams):
        rate: float = tunable(5, low=0.01, high=1, doc="a default that tuning would never try")


class WritesIntoVolumes(Supervised):
    def build(self, task) -> None:
        super().build(task)
        for volume in task.bank.volumes:
            volume.image[:] = 0.5


class WritesThroughTensors(Supervised):
    def build(self, task) -> None:
        super().build(task)
        for volume in task.bank.volumes:
            if volume.label is not None:
                torch.from_numpy(volume.label).clamp_(max=1)


class WritesIntoTheBank(Supervised):
    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        self.task.bank.label[self.task.bank.labelled[0]] = 0
        return super().losses(batch, step)


class WritesIntoTheBatch(Supervised):
    def losses(self, batch: Batch, step: Step) -> dict[str, Tensor]:
        batch.image.sub_(batch.image.mean())
        return super().losses(batch, step)


class WritesIntoWhatItPredicts(Supervised):
    def predictions(self, image: Tensor) -> dict[str, Tensor]:
        return super().predictions(image.mul_(2))


class WritesIntoWhatItSegments(LabelPropagation):
    def segment(self, volume: Volume) -> dict[str, Tensor]:
        torch.from_numpy(volume.image).mul_(0.5)
        return super().segment(volume)


BUGS = {
    WritesIntoVolumes: "it writes into an array of a volume",
    WritesThroughTensors: "label of volume a1 is not as it was handed out",
    WritesIntoTheBank: "task.bank.label is not as it was",
    WritesIntoTheBatch: "batch.image is not as it was",
    WritesIntoWhatItPredicts: "the image to predict is not as it was",
    WritesIntoWhatItSegments: "image of volume v1 is not as it was",
    SameOutput: "term consistency is 0.0",
    StillTeacher: "teacher takes no gradient and never moved",
    ForgottenBuffers: "statistics that do not follow its student's",
    LeftInEvaluation: "left in evaluation mode",
    WrongAxis: "softmax over axis 1",
    NotDetached: "consistency flows through 2 passes of network; detach",
    NotDetachedPair: "exchange_a teaches a, b; expected a",
    SeesMasks: "training changed with the masks",
    UnsureIsBackground: "no pixel counts, and consistency is",
    ForgetsItsWeight: "not what `supervised` trains",
    StateOutsideBuffers: "keep all state in buffers",
    OwnGenerator: "draw from torch's global generator",
    FourClasses: "predictions of another shape",
    UnusedNetwork: "did not move in four steps",
    NoMinimum: "give it a minimum",
    DefaultOutside: "outside of its search space",
}


@pytest.mark.parametrize(("bug", "said"), BUGS.items(), ids=[bug.__name__ for bug in BUGS])
def test_a_planted_bug_is_found(bug: type, said: str) -> None:
    assert any(said in (result.problem or "") for result in check(bug)), list(check(bug))


@pytest.mark.parametrize("name", registry.built_ins("methods"))
def test_every_method_keeps_every_law(name: str) -> None:
    assert not [result for result in check(registry.load("methods", name)) if result.problem]


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


BROKEN = """'''A method that forgets its labels, 2026.'''
from methods import register
from methods.supervised import Supervised

@register("broken")
class Broken(Supervised):
    def losses(self, batch, step):
        return {"supervised": self.network(batch.image[: batch.labelled]).mean() * 0}
"""


def test_the_command_checks_plug_ins_and_its_exit_code_tells(tmp_path: Path) -> None:
    good = bench("check", "--plugin", "examples/my_method.py")
    assert good.returncode == 0 and good.stdout.startswith("flip_consistency keeps 14 laws") and good.stdout.count("\n") == 1
    (tmp_path / "broken.py").write_text(BROKEN)
    bad = bench("check", "--plugin", tmp_path / "broken.py")
    assert bad.returncode == 1 and "broken breaks" in bad.stdout and "expected a scalar above 0" in bad.stdout
    assert "Traceback" not in bad.stdout + bad.stderr


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import no_such_module", ["ModuleNotFoundError", "mine.py"]),
        ("x = 1", ["registers nothing"]),
        (BROKEN.replace('"broken"', '"cps"'), ["'cps'"]),
        (None, ["mine.py", "there is no"]),
    ],
)
def test_a_bad_plug_in_is_one_sentence(content: str | None, words: list[str], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "mine.py").write_text(content)
    result = bench("check", "--plugin", tmp_path / "mine.py")
    assert result.returncode == 2 and "Traceback" not in result.stderr
    assert all(word in result.stderr for word in words), result.stderr


def test_a_plug_in_runs_in_worker_processes_like_a_built_in(tmp_path: Path) -> None:
    options = ["--protocol", "smoke", "--tracking", "none", "--labels", "1", "--store", tmp_path]
    result = bench("run", "--plugin", "examples/my_method.py", "--methods", "flip_consistency", *options)
    assert result.returncode == 0 and "flip_consistency" in result.stdout, result.stderr


def test_an_installed_package_offers_methods_and_datasets_by_entry_points(tmp_path: Path) -> None:
    """A package as pip leaves it: a module and its metadata on the path."""
    (tmp_path / "my_lab.py").write_text(
        BROKEN + "\nfrom datasets.phantom import Phantom\n\n@register('my_data')\nclass MyData(Phantom):\n    pass\n"
    )
    about = tmp_path / "my_lab-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[benchmark.methods]\nbroken = my_lab:Broken\n[benchmark.datasets]\nmy_data = my_lab:MyData\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NO_COLOR": "1"}
    for what, name in (("methods", "broken"), ("datasets", "my_data")):
        listed = subprocess.run(
            [sys.executable, "-m", "benchmark", "ls", what],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert listed.returncode == 0 and name in listed.stdout, listed.stderr
    code = "from benchmark.ground import registry as r; print(r.load('methods', 'broken').name, r.load('datasets', 'my_data').name)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert loaded.stdout.split() == ["broken", "my_data"], loaded.stderr
