"""Install the project with all its extras into the environment whose interpreter runs this file; `make` calls it.

Torch goes first, since which of its builds pip takes by default suits only some machines: on Linux it is the CUDA build, right
beside an NVIDIA GPU and gigabytes of useless libraries without one. A torch that is there already stays, whatever its version
and build.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
PIP = (sys.executable, "-m", "pip", "install")
UV = (sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable)


def succeeds(*command: str, stdout: int | None = None, stderr: int | None = None) -> bool:
    """Whether ``command`` exists and ends without an error."""
    try:
        return subprocess.run(command, stdout=stdout, stderr=stderr, check=False).returncode == 0
    except OSError:
        return False


def answers(*command: str) -> bool:
    """As ``succeeds``, in silence."""
    return succeeds(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def has_torch() -> bool:
    """Whether a fresh interpreter of this environment can import torch."""
    return answers(sys.executable, "-c", "import torch")


def has_nvidia() -> bool:
    """Whether an NVIDIA GPU is here; a container may show only one of the two signs."""
    return NVIDIA_DRIVER.exists() or answers("nvidia-smi", "-L")


def has_rocm() -> bool:
    """Whether AMD's ROCm is here; an integrated AMD GPU without it does not count."""
    return answers("rocm_agent_enumerator")


def install_torch(version: str, pins: tuple[str, ...]) -> bool:
    """Install the build of torch that suits this machine; True if it worked."""
    if sys.platform != "linux" or has_nvidia():
        print(f"installing torch {version}, the default build", flush=True)
        return succeeds(*PIP, *pins, f"torch=={version}")
    backend = "auto" if has_rocm() else "cpu"
    print(f"installing torch {version}, {'ROCm' if backend == 'auto' else 'CPU'} build", flush=True)
    # pip finds another build than the default one only if the user's configuration of pip names a place that has it;
    # uv knows such places.
    if backend == "cpu" and succeeds(*PIP, *pins, f"torch=={version}+cpu", stderr=subprocess.DEVNULL):
        return True
    return succeeds(*PIP, "--quiet", "uv") and succeeds(*UV, *pins, f"--torch-backend={backend}", f"torch=={version}")


def install(lock: list[str], folder: Path) -> str | None:
    """Install torch, then the project at the locked versions; ``folder`` is for scratch files.

    Returns:
        None if all went well, else the sentence to fail with.
    """
    version = next(line.removeprefix("torch==") for line in lock if line.startswith("torch=="))
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(line for line in lock if not line.startswith("torch==")), encoding="utf-8")
    pins = ("--constraint", str(constraints))

    if not has_torch() and not (install_torch(version, pins) and has_torch()):
        return (
            f"torch {version} could not be installed; install a build of torch that suits this machine by hand "
            f"({sys.executable} -m pip install ..., see pytorch.org), then run make again"
        )
    print("installing the project and its libraries, which takes some minutes", flush=True)
    if not succeeds(*PIP, "--quiet", *pins, "--editable", f"{ROOT}[all]"):
        return "the project's libraries could not be installed; mend what pip names above, then run make again"
    return None


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as scratch:
            sys.exit(install(LOCK.read_text(encoding="utf-8").splitlines(), Path(scratch)))
    except KeyboardInterrupt:
        sys.exit("interrupted; run make again to go on")
