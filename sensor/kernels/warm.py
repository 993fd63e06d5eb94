"""Makes the kernels' machine code ready: `python -m sensor.kernels.warm`, after an install or in an image."""

from __future__ import annotations

from sensor.kernels import ahead

if __name__ == "__main__":
    ahead.write()
