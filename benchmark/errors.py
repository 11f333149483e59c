"""The exceptions that mean: the user can fix this."""


class BadInput(Exception):
    """One clear sentence: which file or option, what was found, what was expected, what to do. The command ends with exit code 2."""


class DiskFull(BadInput):
    """Nothing more can be written; what is there is whole."""


class NotAsClaimed(BadInput):
    """Data is not what a file, or a cell, says it is."""
