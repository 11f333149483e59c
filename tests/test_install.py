"""The installer's choice of a torch build, on faked machines: nothing is installed."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

LOCK = ["# a comment", "numpy==2.4.6", "torch==2.13.0", "torchlike==1.0"]


@pytest.fixture
def installer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """A fresh tools/install.py on a Linux machine without an NVIDIA driver."""
    spec = importlib.util.spec_from_file_location("install", Path(__file__).parents[1] / "tools" / "install.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(module, "NVIDIA_DRIVER", tmp_path / "no-driver")
    return module


class FakeMachine:
    """Runs no command: answers each by ``works`` and notes the installations; an installed torch can be imported."""

    def __init__(self, works: Callable[[str], bool], torch: bool = False) -> None:
        self.works, self.torch = works, torch
        self.installed: list[str] = []
        self.constraints = ""

    def succeeds(self, *command: str, **_: object) -> bool:
        line = " ".join(command)
        if "import torch" in line:
            return self.torch
        if "install" not in command:
            return self.works(command[0])
        self.installed.append(("uv " if "uv" in command[:3] else "pip ") + " ".join(command[-2:]))
        if "--constraint" in command:
            self.constraints = Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8")
        done = self.works(self.installed[-1])
        self.torch |= done and "torch==" in line
        return done


InstallOn = Callable[[FakeMachine], str | None]


@pytest.fixture
def install_on(installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> InstallOn:
    """Installs on a fake machine; returns the sentence of failure, if any."""

    def install(machine: FakeMachine) -> str | None:
        monkeypatch.setattr(installer, "succeeds", machine.succeeds)
        return installer.install(LOCK, tmp_path)

    return install


def torch_steps(machine: FakeMachine) -> list[str]:
    return [f"{step.split()[0]} {step.split()[-1]}" for step in machine.installed[:-1]]


def test_gpu_gets_the_default_build(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: what.startswith(("nvidia-smi", "pip")))
    assert install_on(machine) is None
    assert torch_steps(machine) == ["pip torch==2.13.0"]


def test_nvidia_driver_without_nvidia_smi_counts(
    install_on: InstallOn, installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(installer, "NVIDIA_DRIVER", tmp_path)
    machine = FakeMachine(lambda what: what.startswith("pip"))
    assert install_on(machine) is None
    assert torch_steps(machine) == ["pip torch==2.13.0"]


def test_cpu_machine_gets_the_cpu_build(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: what.startswith("pip"))
    assert install_on(machine) is None
    assert torch_steps(machine) == ["pip torch==2.13.0+cpu"]


def test_uv_finds_the_cpu_build_where_pip_does_not(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: what.startswith(("pip", "uv")) and "+cpu" not in what)
    assert install_on(machine) is None
    assert torch_steps(machine) == ["pip torch==2.13.0+cpu", "pip uv", "uv torch==2.13.0"]
    assert "--torch-backend=cpu" in machine.installed[2]


def test_rocm_asks_uv_for_its_build(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: what.startswith(("rocm", "pip", "uv")))
    assert install_on(machine) is None
    assert machine.installed[1] == "uv --torch-backend=auto torch==2.13.0"


def test_macos_gets_the_default_build(install_on: InstallOn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    machine = FakeMachine(lambda what: what.startswith("pip"))
    assert install_on(machine) is None
    assert torch_steps(machine) == ["pip torch==2.13.0"]


def test_a_torch_that_is_there_stays(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: what.startswith("pip"), torch=True)
    assert install_on(machine) is None
    assert torch_steps(machine) == []
    assert machine.installed[-1].endswith("[all]")
    assert machine.constraints.splitlines() == ["# a comment", "numpy==2.4.6", "torchlike==1.0"]


def test_no_torch_no_project(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: False)
    failure = install_on(machine)
    assert failure is not None and "torch 2.13.0 could not be installed" in failure
    assert not any("[all]" in step for step in machine.installed)


def test_failing_libraries_are_told(install_on: InstallOn) -> None:
    machine = FakeMachine(lambda what: "[all]" not in what)
    failure = install_on(machine)
    assert failure is not None and "libraries could not be installed" in failure


def test_the_lock_pins_torch_and_names_no_place(installer: ModuleType) -> None:
    lock = installer.LOCK.read_text(encoding="utf-8").splitlines()
    pins = [line for line in lock if not line.startswith("#")]
    assert sum(pin.startswith("torch==") for pin in pins) == 1
    assert all("==" in pin and not {"/", "@", "+"} & set(pin) for pin in pins)
    cuda = [pin for pin in pins if pin.startswith(("nvidia-", "triton")) and not pin.startswith("nvidia-ml-py==")]
    assert not cuda  # nvidia-ml-py is a reader of the driver's counters, in Python alone
