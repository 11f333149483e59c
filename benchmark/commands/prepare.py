"""``prepare``: check a dataset, show it, keep or pack it."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.console import err, out, wrote
from benchmark.commands.options import (
    DataOption,
    DatasetOption,
    DeviceOption,
    JobsOption,
    PluginOption,
    StoreOption,
)
from benchmark.ground.errors import BadInput
from benchmark.ground.workers import cores


class Bits(StrEnum):
    """Bits of an intensity in a packed dataset."""

    eight = "8"
    sixteen = "16"


@command(
    epilog="Examples:\n\n"
    "`python -m benchmark prepare --dataset acdc --data ~/ACDC`\n\n"
    "`python -m benchmark prepare --dataset decathlon --data ~/Task04_Hippocampus --download`\n\n"
    "`python -m benchmark prepare --dataset acdc --data ~/ACDC --pack acdc.h5 --registrations 1,3,7`\n\n"
    "`python -m benchmark prepare --data ~/scans --suggest`"
)
def prepare(
    dataset: DatasetOption = "phantom",
    data: DataOption = None,
    look: Annotated[bool, typer.Option("--suggest", help="Only say what lies in --data and which dataset reads it.")] = False,
    download: Annotated[bool, typer.Option("--download", help="Fetch it into --data first, where its licence allows.")] = False,
    pack: Annotated[Path | None, typer.Option(help="Write one portable file, which --data then names anywhere.")] = None,
    bits: Annotated[Bits, typer.Option(help="Of each intensity in the packed file.")] = Bits.eight,
    registrations: Annotated[str | None, typer.Option(help="Budgets whose registrations are packed too.")] = None,
    runs: Annotated[int, typer.Option(min=1, max=10, help="Pack registrations of draws 0 to N-1.")] = 1,
    store: StoreOption = Path("runs"),
    device: DeviceOption = "auto",
    jobs: JobsOption = None,
    plugin: PluginOption = None,
) -> None:
    """Check a dataset file by file, show what is in it, and keep it in the store's cache, where cells read it."""
    from benchmark.ground import registry

    if look:
        from datasets.suggest import suggest

        if data is None:
            raise BadInput("--suggest needs --data FOLDER; expected the folder to look at")
        for line in suggest(data):
            out.print(line, highlight=False, markup=False, soft_wrap=True)
        return
    kind = registry.load("datasets", dataset)
    if registrations and not pack:
        raise BadInput("--registrations belongs to --pack; name the file to write with --pack FILE")
    if download:
        if data is None:
            raise BadInput(f"--download needs --data FOLDER; expected where to put {dataset}")
        kind.download(data)  # type: ignore[attr-defined]

    from benchmark.ground.protocol import PROTOCOLS
    from benchmark.records.store import Store
    from benchmark.study.preparation import PackedRegistrations, pack_dataset, prepare_shown
    from datasets.summary import summarise
    from reports.preparation.dataset import to_terminal, write

    root = Store(store)
    prepared = prepare_shown(dataset, data, root, err)
    summary = summarise(prepared, sorted({protocol.image_size for protocol in PROTOCOLS.values()}))
    out.print(to_terminal(summary))
    wrote(write(summary, root.report / "datasets" / dataset))
    if pack:
        wanted = PackedRegistrations(registrations, runs, device, jobs or cores()) if registrations else None
        pack_dataset(prepared, pack, int(bits), wanted, root, err)
        wrote([pack])
