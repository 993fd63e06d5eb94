"""Compiles all kernels, so that the machine code lies ready before its first use (`python -m sensor.kernels.warm`)."""

from __future__ import annotations

import importlib
import pkgutil

import sensor.kernels


def warm() -> None:
    """Import every kernel module: importing compiles, or loads what an earlier import compiled."""
    for module in pkgutil.iter_modules(sensor.kernels.__path__):
        if module.name != "warm":
            importlib.import_module(f"sensor.kernels.{module.name}")


if __name__ == "__main__":
    warm()
