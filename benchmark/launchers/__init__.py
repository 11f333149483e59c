"""Where cells run. A cell is idempotent and the store is the truth: a launcher only decides who runs which cell, and when.

inline: this process, one cell after the other. devices: worker processes on this machine's CPU cores or GPUs. slurm: array jobs of a
cluster. ray: tasks of a Ray cluster. Several commands, on several machines, may work on one store: a cell that another has is waited for.
"""
