"""dataset.yaml: how a user's own images are scaled. All lines may be left out.

modality: CT            or a list, one a channel: CT is windowed to [-175, 275] HU, any other scaled between percentiles
window: [-100, 240]     or a list of such pairs, one a channel: what becomes [0, 1], before the modality
percentiles: dataset    of all training volumes together, instead of each volume's own
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.ground.errors import BadInput
from datasets.readers import read_text
from datasets.volumes import SOFT_TISSUE, Window

KEYS = ("modality", "window", "percentiles")


@dataclass(frozen=True)
class Settings:
    """windows: one a channel, or one for all; None: not stated. pooled: whether percentiles are those of all training volumes."""

    windows: tuple[Window, ...] | None = None
    pooled: bool = False

    def for_channels(self, channels: int, where: Path) -> tuple[Window, ...] | None:
        """A window for each channel.

        Raises:
            BadInput: there are more or fewer than channels.
        """
        if self.windows is None or len(self.windows) == channels:
            return self.windows
        if len(self.windows) == 1:
            return self.windows * channels
        raise BadInput(f"{where} states {len(self.windows)} channels; expected {channels}, as the images have; correct it")


def read_settings(path: Path) -> Settings:
    """The settings in ``path``; none where it is not there.

    Raises:
        BadInput: it cannot be understood.
    """
    if not path.is_file():
        return Settings()
    import yaml

    try:
        found: Any = yaml.safe_load(read_text(path)) or {}
    except yaml.YAMLError as error:
        raise BadInput(
            f"{path} is no YAML ({str(error).splitlines()[0]}); expected lines such as modality: CT; correct it"
        ) from None
    if not isinstance(found, dict) or set(found) - set(KEYS):
        strange = sorted(map(str, set(found) - set(KEYS))) if isinstance(found, dict) else [type(found).__name__]
        raise BadInput(f"{path} has {', '.join(strange)}; expected {', '.join(KEYS)}; correct it")
    if found.get("percentiles", "volume") not in ("volume", "dataset"):
        raise BadInput(f"{path} has percentiles {found['percentiles']}; expected volume or dataset; correct it")
    windows = windows_of(found["modality"]) if "modality" in found else None
    if "window" in found:
        given = found["window"]
        pairs = [given] if isinstance(given, list) and given and not isinstance(given[0], list) else given
        try:
            windows = tuple((float(low), float(high)) for low, high in pairs)
        except (TypeError, ValueError):
            windows = ()
        if not windows or any(window is None or not window[0] < window[1] for window in windows):
            raise BadInput(
                f"{path} has window {given}; expected [low, high], or a list of such pairs, one a channel; correct it"
            )
    return Settings(windows, found.get("percentiles") == "dataset")


def windows_of(modality: Any) -> tuple[Window, ...]:
    """The windows of a modality, or of one for each channel."""
    names = modality if isinstance(modality, list) else [modality]
    return tuple(SOFT_TISSUE if str(name).strip().upper() == "CT" else None for name in names)
