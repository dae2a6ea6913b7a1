"""Reductions, fused with the elementwise function that makes what they reduce."""

from overspill.ops.reductions.extremes import argmax, argmin, max, min
from overspill.ops.reductions.histogram import histogram
from overspill.ops.reductions.norm import norm
from overspill.ops.reductions.sums import mean, sum
from overspill.ops.reductions.truth import all, any
from overspill.ops.reductions.variance import std, var

__all__ = ["all", "any", "argmax", "argmin", "histogram", "max", "mean", "min", "norm", "std", "sum", "var"]
