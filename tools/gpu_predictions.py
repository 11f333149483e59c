"""What the cells of experiments/acdc_gpu.yaml should cost on a GPU, before one has run: from operations, bytes and published rates.

    python tools/gpu_predictions.py > docs/results/gpu_predictions.md     (about ten minutes of one core)

One training step of each variant at `paper` runs on a CPU; of every operation of its passes forward and back the multiplications and
the bytes that it must read and write are counted. An operation cannot take less than either at the card's published rate, and its
host cannot call more than one in some microseconds: the larger of the two sums is the prediction. Nothing here is measured on a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from benchmark.cell.optimiser import Optimiser
from benchmark.cell.training import _update
from benchmark.conformance.task import made_up_task
from benchmark.ground import registry
from benchmark.ground.environment import make_deterministic
from benchmark.ground.protocol import Protocol
from benchmark.ground.rules import get_protocol
from benchmark.study.grid import parse_methods
from datasets.preparing import open_dataset
from datasets.registration.engine import Engine, RegistrationConfig, prepare
from datasets.registration.pairs import TargetRegistration
from methods.method import Method, Propagator, Step

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = ROOT / "experiments" / "acdc_gpu.yaml"


class Card(NamedTuple):
    """A card's published rates: multiply-adds count as two operations; dense, without sparsity."""

    name: str
    tf32: float
    float32: float
    bytes: float


H200 = Card("NVIDIA H200 SXM", tf32=494e12, float32=67e12, bytes=4.8e12)
REACHED = 0.6
"""Share of the published rates that kernels of these sizes are taken to reach."""
HOST_SECONDS = 8e-6
"""That a host takes to call an operation from Python, eagerly."""
CONTEXT_BYTES = 0.6e9
"""Of CUDA itself, with its libraries' workspaces."""
SLICES = 1312
"""Of ACDC's training volumes."""


class Counted(TorchDispatchMode):
    """Counts, while it is on: operations that a device would run, their least seconds on ``card``, multiplications and bytes."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card, self.calls, self.seconds, self.operations, self.bytes = card, 0, 0.0, 0.0, 0.0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        made = [t for t in tree_leaves(found) if isinstance(t, Tensor)]
        places = {t.untyped_storage().data_ptr() for t in given}
        is_view = bool(made) and not function._schema.is_mutable and all(t.untyped_storage().data_ptr() in places for t in made)
        if made and not is_view:
            packet = function._overloadpacket
            operations = flop_registry[packet](*args, **(kwargs or {}), out_val=found) if packet in flop_registry else 0
            moved = sum(t.numel() * t.element_size() for t in (*given, *made))
            rate = self.card.tf32 if "conv" in str(packet) else self.card.float32
            self.calls += 1
            self.operations += operations
            self.bytes += moved
            self.seconds += max(operations / rate, moved / self.card.bytes)
        return found


class Prediction(NamedTuple):
    """Of a step: operations, bytes moved, calls, seconds; and the bytes that a process holds on the card."""

    operations: float
    bytes: float
    calls: int
    seconds: float
    held: float


def predicted(selection: Any, protocol: Protocol) -> Prediction:
    """Of one step of a method in the middle of its training."""
    changes = {name: getattr(protocol, name) for name in Protocol.model_fields}
    task = made_up_task(side=protocol.image_size, **changes)
    torch.manual_seed(0)
    method_class: Any = registry.load("methods", selection.method)
    method: Method = method_class(task, method_class.Hparams(**selection.hparams)).train()
    optimiser = Optimiser(method, protocol)
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with Counted(H200) as counted, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        _update(method, optimiser, task.bank, protocol, 0, Step(protocol.steps // 2, protocol.steps))
    weights = sum(value.numel() * value.element_size() for value in method.state_dict().values())
    bank = SLICES * protocol.image_size**2 * 5
    seconds = max(counted.seconds / REACHED, counted.calls * HOST_SECONDS)
    return Prediction(
        counted.operations, counted.bytes, counted.calls, seconds, sum(kept.values()) + 4 * weights + bank + CONTEXT_BYTES
    )


def of_a_pair() -> tuple[Counted, float]:
    """Registering six labelled volumes of the phantom to another: what was counted, and seconds a pair."""
    dataset, device = open_dataset("phantom", None), torch.device("cpu")
    volumes = [volume for case in dataset.split.train[:7] for volume in dataset.read(case, labels=True)][:7]
    engine = Engine(RegistrationConfig(), device)
    prepared = [prepare(volume, device) for volume in volumes]  # the last is the target
    with Counted(H200) as counted:
        TargetRegistration([volume.name for volume in volumes[:6]], prepared.__getitem__, engine, {}).compute("deformable")
    return counted, max(counted.seconds / REACHED, counted.calls * HOST_SECONDS) / 6


def main() -> None:
    """Print the page."""
    make_deterministic()
    experiment = yaml.safe_load(EXPERIMENT.read_text(encoding="utf-8"))
    protocol = get_protocol("paper")
    short = get_protocol("paper-short").steps
    print(
        f"# Predicted: experiments/acdc_gpu.yaml on one {H200.name}\n\n"
        "Written before any cell has run on a GPU, to be compared with what is measured there; `tools/gpu_predictions.py` counts and\n"
        f"prints it. Published rates: {H200.tf32 / 1e12:.0f} TFLOPS in TF32 (convolutions),"
        f" {H200.float32 / 1e12:.0f} in float32 (all else),"
        f" {H200.bytes / 1e12:.1f} TB/s;\ntaken to be reached: {REACHED:.0%}. A call from the host: {HOST_SECONDS * 1e6:.0f} us."
        " A step takes the longer of the two sums.\nValidation, tests and registration are left out; so is a second cell on the card,"
        " which fits"
        " where the host is the limit. Memory: what the pass back\nneeds, weights four times (gradients, optimiser, teacher), slices, CUDA."
        " How many cases are labelled changes none of it.\n\n"
        f"| Variant | GFLOP a step | GB moved a step | calls a step | limit | ms a step | min at paper-short ({short:,} steps) |"
        f" min at paper ({protocol.steps:,}) | GB held |\n|:---|---:|---:|---:|:---|---:|---:|---:|---:|"
    )
    for selection in parse_methods(",".join(experiment["methods"])):
        if issubclass(registry.load("methods", selection.method), Propagator):
            continue
        p = predicted(selection, protocol)
        limit = "host" if p.seconds == p.calls * HOST_SECONDS else "card"
        cells = [f"{p.operations / 1e9:.0f}", f"{p.bytes / 1e9:.1f}", str(p.calls), limit, f"{1e3 * p.seconds:.1f}"]
        cells += [f"{p.seconds * short / 60:.1f}", f"{p.seconds * protocol.steps / 60:.0f}", f"{p.held / 1e9:.1f}"]
        print(f"| {selection.variant} | {' | '.join(cells)} |", flush=True)
    counted, seconds = of_a_pair()
    took = ", ".join(f"{pairs * seconds:.0f}" for pairs in (276, 828, 1764))
    print(
        f"\nlabel_propagation has no steps. Registering six labelled volumes of the phantom to another is {counted.calls:,} calls and"
        f" {counted.bytes / 1e9:.1f} GB moved: the host is the\nlimit, {1e3 * seconds:.0f} ms a pair,"
        f" {1 / seconds:.0f} pairs/s in one process. ACDC's training set takes 276, 828 and 1,764 pairs at 1, 3 and 7 labels,"
        f" once for all\ncells of a budget: {took} s; 20 test volumes take {20 * seconds:.1f} s a labelled volume more."
    )


if __name__ == "__main__":
    main()
