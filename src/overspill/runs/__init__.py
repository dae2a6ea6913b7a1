"""Runs: one execution of a workflow each, with its parameters, manifest, ledger and report in a directory."""

from overspill.runs.params import Nbytes

__all__ = ["Nbytes"]
