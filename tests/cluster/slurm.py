"""A SLURM cluster of one node on this machine: munged, slurmctld and slurmd of Debian's packages, on loopback, in a folder of their own.

apt-get install slurmctld slurmd slurm-client munge
python -m tests.cluster.slurm FOLDER        # runs it until Ctrl-C and prints the SLURM_CONF to use; needs root
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmdPort={daemon}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=0
ReturnToService=2
KillWait=5
InactiveLimit=0
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """What is not installed of what a cluster needs; "root" where this is another user."""
    return [program for program in PROGRAMS if shutil.which(program) is None] + (["root"] if os.geteuid() else [])


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """A cluster while entered; yields the environment by which SLURM's programs find it."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True, mode=0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, control=_free_port(), daemon=_free_port()))
    environment = os.environ | {"SLURM_CONF": str(conf)}
    munge = [
        f"--{name}={folder}/munge.{ending}" for name, ending in (("socket", "socket"), ("pid-file", "pid"), ("log-file", "log"))
    ]
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--seed-file={folder}/munge.seed", *munge],
        ["slurmctld", "-D", "-c", "-f", str(conf)],
        ["slurmd", "-D", "-N", host, "-f", str(conf)],
    ]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with open(folder / f"{command[0]}.out", "wb") as out:
                running.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            time.sleep(0.5)
        _until_up(environment, running, folder)
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _until_up(environment: dict[str, str], running: list[subprocess.Popen[bytes]], folder: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True).stdout.strip()
        if state == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(f"{path.name}: {path.read_text()[-1500:]}" for path in [*folder.glob("*.log"), *folder.glob("*.out")])
    raise RuntimeError(f"the cluster did not come up; still running: {[p.poll() is None for p in running]}\n{logs}")


if __name__ == "__main__":
    with cluster(Path(sys.argv[1]).resolve()) as found:
        print(f"export SLURM_CONF={found['SLURM_CONF']}", flush=True)
        while True:
            time.sleep(60)
