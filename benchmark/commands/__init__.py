"""The command line, a file a command: parse, call, print. Nothing heavy is imported before a command needs it."""

# The order is that of `--help`.
from benchmark.commands import run, ablate, retry, tune  # noqa: I001
from benchmark.commands import ls, report, verify, track, export, import_stores
from benchmark.commands import predict, package
from benchmark.commands import prepare, registration, check, new
from benchmark.commands.app import app, main
from benchmark.commands.console import err, out

__all__ = ["app", "err", "main", "out"]
__all__ += ["ablate", "check", "export", "import_stores", "ls", "new", "package", "predict", "prepare", "registration"]
__all__ += ["report", "retry", "run", "track", "tune", "verify"]
