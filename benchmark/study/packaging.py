"""A model to hand on: weights, what they know, a card made from the record, and the reported network as ONNX."""

from __future__ import annotations

import json
import warnings
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cell.experiment import ReportedNetwork
from benchmark.cell.prediction import Predictor, weights_of
from benchmark.ground.errors import BadInput
from benchmark.ground.files import checksum, write_atomically
from benchmark.study.models import MODEL, Loaded, Package
from methods.method import Method

if TYPE_CHECKING:
    from benchmark.records.store import Store

CARD = "MODEL_CARD.md"
ONNX_NEEDS = ("onnx", "onnxruntime", "onnxscript")
AGREE = 1e-4
"""By how much a probability of ONNX's network may differ from torch's."""


def package(found: Loaded, predictor: Predictor, store: Store, out: Path) -> tuple[list[Path], str]:
    """Write a packaged model to the folder ``out``; returns its files and, where there is no ONNX among them, why.

    Raises:
        BadInput: the method has no weights, or the folder cannot be written.
    """
    if predictor.propagates:
        raise BadInput(
            f"{predictor.cells[0].method} has no weights: it predicts from the labelled scans themselves, which no package may hold;"
            " expected a method that trains"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--out: {out} cannot be made ({error.strerror}); expected a folder to write to") from None
    sums, files = {}, [out / MODEL, out / CARD]
    for cell, method in zip(predictor.cells, predictor.methods, strict=True):
        assert isinstance(method, Method)
        content = weights_of(method)
        files.append(out / f"{cell.id}.safetensors")
        write_atomically(files[-1], content)
        sums[files[-1].name] = checksum(content)
    about = Package(cells=predictor.cells, codes=found.codes, knowledge=predictor.knowledge, weights=sums)
    write_atomically(out / CARD, card(found, predictor, store).encode())
    write_atomically(out / MODEL, json.dumps(about.model_dump(mode="json"), indent=1).encode())
    written, why = export_onnx(predictor, out)
    return [*files, *written], why


def card(found: Loaded, predictor: Predictor, store: Store) -> str:
    """The model card, Markdown, from the store's records."""
    from benchmark.records.folds import in_folds
    from benchmark.records.table import collect
    from reports.writing.card import Facts, model_card

    cell, knowledge, dataset = predictor.cells[0], predictor.knowledge, found.dataset
    assert dataset is not None
    counts = f"{len(dataset.split.train)} training, {len(dataset.split.unlabelled)} never labelled, {len(dataset.split.val)} validation"
    facts = Facts(
        dataset=cell.dataset,
        cases=f"{counts}; {', '.join(f'{len(cases)} {name}' for name, cases in dataset.split.tests.items())}",
        licence=dataset.licence,
        data_hash=cell.data_hash,
        described=dataset.facts,
        classes=dict(zip(knowledge.classes, knowledge.reading.values, strict=True)),
        seen=knowledge.seen,
        largest=tuple(knowledge.classes[k] for k in knowledge.largest or ()),
        cells=tuple(str(one) for one in predictor.cells),
        code=tuple(code.id if code else "unknown" for code in found.codes),
        hparams=cell.hparams,
        rules=cell.protocol.rules(),
    )
    named = in_folds(cell.dataset, cell.fold[1]) if cell.fold else cell.dataset
    place = {"dataset": named, "protocol": cell.protocol.name, "kind": cell.kind, "labels": cell.labels}
    return model_card(facts, collect(store), place, cell.variant)


def export_onnx(predictor: Predictor, out: Path) -> tuple[list[Path], str]:
    """The reported network of each cell as ONNX: images (N, C, P, P) to class probabilities (N, K, P, P); each is held to torch's.

    Returns:
        The files; and why there are fewer than cells.
    """
    import torch

    if missing := [name for name in ONNX_NEEDS if util.find_spec(name) is None]:
        return [], f"no ONNX: {', '.join(missing)} not installed (pip install '.[onnx]')"
    files, why = [], ""
    for cell, method in zip(predictor.cells, predictor.methods, strict=True):
        assert isinstance(method, Method)
        network, size = ReportedNetwork(method).cpu().eval(), cell.protocol.image_size
        example = torch.rand(2, predictor.knowledge.channels, size, size, generator=torch.Generator().manual_seed(0))
        path = out / f"{cell.id}.onnx"
        try:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                torch.onnx.export(
                    network,
                    (example,),
                    str(path),
                    input_names=["image"],
                    output_names=["probabilities"],
                    dynamic_shapes={"image": {0: torch.export.Dim("slices", min=1)}},
                    dynamo=True,
                    external_data=False,
                    verbose=False,
                )
                apart = _apart(path, network, example)
        except Exception as error:  # whatever an operator that ONNX lacks makes the exporter raise
            path.unlink(missing_ok=True)
            why = f"no ONNX of {cell.id}: torch cannot export it ({type(error).__name__}: {str(error).splitlines()[0][:200]})"
            continue
        finally:
            network.to(predictor.device)
        if apart > AGREE:
            path.unlink()
            why = f"no ONNX of {cell.id}: its probabilities differ from torch's by {apart:.2g}; expected at most {AGREE:g}"
            continue
        files.append(path)
    return files, why


def _apart(path: Path, network: ReportedNetwork, example: object) -> float:
    """The largest difference of a probability between ONNX Runtime and torch, of as many slices as were exported and of one."""
    import onnxruntime
    import torch

    assert isinstance(example, torch.Tensor)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = [
        float((torch.from_numpy(session.run(None, {"image": image.numpy()})[0]) - network(image)).abs().max())
        for image in (example, example[:1])
    ]
    return max(found)
