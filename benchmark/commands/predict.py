"""``predict``: segment scans with what a store, or a packaged model, has learnt."""

from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.app import command
from benchmark.commands.chosen import BestOption, CellOption, EnsembleOption
from benchmark.commands.console import err, note, out, stoppable, wrote
from benchmark.commands.options import DataOption, DeviceOption, PluginOption, StoreOption
from benchmark.ground.errors import BadInput


@command(
    epilog="Examples:\n\n"
    "`python -m benchmark predict --best --images ~/scans --out masks`\n\n"
    "`python -m benchmark predict --cell 0123456789ab --ensemble --uncertainty --out masks`\n\n"
    "`python -m benchmark predict --model model --images a.nii.gz b.nii.gz --out masks`"
)
def predict(
    more: Annotated[list[Path] | None, typer.Argument(help="Further scans: what a shell makes of `--images *.nii.gz`.")] = None,
    *,
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Scans, or a folder of them; may come again.  [default: the dataset's own that had no label]"),
    ] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where masks (NIfTI, on each scan's own grid) and the table go.")],
    cell: CellOption = None,
    best: BestOption = False,
    model: Annotated[
        Path | None, typer.Option(help="Instead of a cell: the folder of a packaged model; no store is needed.")
    ] = None,
    ensemble: EnsembleOption = False,
    flips: Annotated[bool, typer.Option("--flips", help="Average over mirrored slices, too: four times the work.")] = False,
    largest_component: Annotated[
        bool,
        typer.Option("--largest-component", help="Keep the largest component alone of classes where validation gains by it."),
    ] = False,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Also write each class's probability.")] = False,
    uncertainty: Annotated[
        bool, typer.Option("--uncertainty", help="Also write maps of entropy and of disagreement between networks.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Segment scans, too, that are unlike those of training.")] = False,
    store: StoreOption = Path("runs"),
    data: DataOption = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Segment scans: masks with your label values on each scan's own grid, volumes in ml, a contact sheet. Repeat it to continue."""
    if sum([cell is not None, best, model is not None]) != 1:
        raise BadInput("predict needs to know with what; expected one of --cell ID, --best and --model FOLDER")
    paths = [*(images or []), *(more or [])]
    if model and not paths:
        raise BadInput("--model knows no scans of its own; expected --images FILE or FOLDER")

    from benchmark.ground.environment import pick_device
    from benchmark.study import predicting
    from benchmark.study.display import StageDisplay
    from benchmark.study.models import loaded
    from reports.figures.contact_sheet import draw_contact_sheet

    wanted = predicting.Wanted(flips, largest_component, probabilities, uncertainty, force)
    with loaded(model or store, model is not None, cell, ensemble, data, pick_device(device)) as found:
        for told in found.told:
            note(told)
        predictor = found.choosing_largest() if largest_component else found.predictor
        knowledge = predictor.knowledge
        labelled = {case for one in predictor.cells for case in one.labelled}
        own = [] if paths or found.dataset is None else predicting.own_scans(found.dataset, labelled)
        scans = own or predicting.new_scans(paths, knowledge)
        with StageDisplay(err, "segmenting", "scans") as stage, stoppable():
            outcome = predicting.segment_all(predictor, scans, wanted, out_folder, stage.tell)
        for problem in outcome.refused:
            note(f"refused: {problem}")
        if outcome.done:
            sheet = out_folder / predicting.SHEET
            draw_contact_sheet(list(predicting.pictures(scans, knowledge, out_folder)), knowledge.classes, sheet)
            wrote([out_folder / predicting.TABLE, sheet])
    out.print(f"{outcome.done} of {len(scans)} scans segmented in {out_folder}", highlight=False, markup=False, soft_wrap=True)
    if outcome.refused:
        raise BadInput(
            f"{len(outcome.refused)} of {len(scans)} scans were refused and nothing was written of them; expected scans like those of"
            " training; see above"
        )
