"""Medical Segmentation Decathlon: any task, as downloaded; its labelled training cases split into training, validation and test.

Simpson et al., arXiv 1902.09063; Antonelli et al., Nature Communications 13:4128, 2022. The official test labels are not public, so 70 %
of the labelled cases train, 10 % validate and 20 % test, in an order that their names alone fix.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.ground.registry import register
from datasets.description import DescribedDataset


@register("decathlon")
class Decathlon(DescribedDataset):
    """A task's folder, or any other with a dataset.json of its kind (MONAI's lists of BTCV, nnU-Net raw); see ``DescribedDataset``.

    path: the task's folder, e.g. Task04_Hippocampus.
    """

    source = "name a task's folder, which holds dataset.json; `prepare --download` fetches e.g. --data Task04_Hippocampus (CC BY-SA 4.0)"

    @classmethod
    def download(cls, path: Path) -> None:
        """Fetch the task that ``path`` is named after; nothing to do where it is there. Raises BadInput; see ``fetch_task``."""
        from datasets.download import fetch_task

        if not (path / "dataset.json").exists():
            fetch_task(path)
