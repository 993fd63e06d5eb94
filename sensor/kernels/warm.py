"""Makes what a start needs ready: `python -m sensor.kernels.warm`, after an install or in an image.

That is the kernels' machine code, and the bytecode of our modules: where Python may not write it (a service's user, or
PYTHONDONTWRITEBYTECODE), each start would compile every module anew, which takes a fifth of it.
"""

from __future__ import annotations

import compileall
from pathlib import Path

from sensor.kernels import ahead


def compile_modules(folder: Path) -> None:
    """Write the bytecode of all modules in a folder, where that can be written.

    Raises
    ------
    nothing
    """
    compileall.compile_dir(folder, quiet=2)


if __name__ == "__main__":
    ahead.write()
    compile_modules(Path(__file__).parents[1])
