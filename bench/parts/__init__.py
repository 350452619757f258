"""The parts of the bench: each has `measure`, which yields measurements."""

import subprocess

from measurement import Measurement
from world import ROOT


def cargo_bench(name):
    """The measurements that a bench of the crate prints."""
    command = ["cargo", "bench", "--quiet", "--locked", "--package", "rds-iam", "--bench", name]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [Measurement.read(line) for line in ran.stdout.splitlines() if line.startswith("{")]
