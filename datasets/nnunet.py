"""nnU-Net raw data, version 1 or 2: a folder DatasetNNN_Name with imagesTr/case_0000.nii.gz (a file a channel), labelsTr and dataset.json.

Isensee et al., Nature Methods 18, 2021; github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md. imagesTs with labelsTs is the test
set; without labelsTs the labelled cases are split by name as the Decathlon's are.
"""

from __future__ import annotations

from benchmark.ground.registry import register
from datasets.description import DescribedDataset


@register("nnunet")
class NNUNet(DescribedDataset):
    """A dataset of nnU-Net; ``channel_names`` CT is windowed, the label ``ignore`` takes part in no loss and no metric.

    path: the dataset's folder, in nnUNet_raw.
    """

    source = "name a dataset's folder in nnUNet_raw, which holds dataset.json, imagesTr and labelsTr"
