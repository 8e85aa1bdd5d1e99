"""The version, in a module of its own so that `reconciler version` imports nothing else."""

VERSION = "0.1.0"
