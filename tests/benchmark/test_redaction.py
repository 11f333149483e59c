"""Secrets and home folders do not get into records and messages."""

from pathlib import Path

import pytest

from benchmark.ground.redaction import for_records, for_travel, without_secrets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--tracking http://alice:S3cret@host/path", "--tracking http://***@host/path"),
        ("--storage postgresql+psycopg2://bob:S3/cret@db:5432/x", "--storage postgresql+psycopg2://***@db:5432/x"),
        ("--storage 'mysql://u:S3@cret@h/x?charset=utf8'", "--storage 'mysql://***@h/x?charset=utf8'"),
        ("http://token@host", "http://***@host"),
        ("https://host/a?user=x&password=S3cret&b=1", "https://host/a?user=x&password=***&b=1"),
        ("https://host/?api_key=S3cret", "https://host/?api_key=***"),
        ("https://bucket/x?X-Amz-Signature=S3cret&y=1", "https://bucket/x?X-Amz-Signature=***&y=1"),
        ("--slurm account=a,MY_TOKEN=S3cret,time=3", "--slurm account=a,MY_TOKEN=***,time=3"),
        ("http://host:5000/#/experiments and me@example.org", "http://host:5000/#/experiments and me@example.org"),
        ("sqlite:////data/mlflow.db cctr[rsl=false,reps=false]", "sqlite:////data/mlflow.db cctr[rsl=false,reps=false]"),
    ],
)
def test_secrets_are_stars(text: str, expected: str) -> None:
    assert without_secrets(text) == expected and "S3" not in without_secrets(text)
    assert without_secrets(expected) == expected


def test_home_folders_are_tildes() -> None:
    home = Path.home()
    assert for_records(f"--data {home}/ACDC --store '{home}'") == "--data ~/ACDC --store '~'"
    assert for_records("--data /home/alice/ACDC /Users/bob/x /homework/alice") == "--data ~/ACDC ~/x /homework/alice"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("run --data /data/shared/ACDC --store /scratch/x/runs", "run --data .../ACDC --store .../runs"),
        ("--data '/mnt/my disk'", "--data '.../my disk'"),
        ("--data '/mnt/my disk/of hearts/ACDC' --labels 1", "--data '.../ACDC' --labels 1"),
        ('File "/opt/env/lib/site.py", line 3, in f', 'File ".../site.py", line 3, in f'),
        (r"--data C:\Users\bob\ACDC", r"--data .../ACDC"),
        ("--tracking sqlite:////srv/lab/ml.db", "--tracking sqlite:///.../ml.db"),
        ("--methods cctr[rsl=false] --labels 1,3,7", "--methods cctr[rsl=false] --labels 1,3,7"),
    ],
)
def test_folders_stay_at_home(text: str, left: str) -> None:
    assert for_travel(text) == left
