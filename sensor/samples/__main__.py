"""Write the sample captures into a folder: `python -m sensor.samples FOLDER`."""

import sys
from pathlib import Path

from sensor.samples import write_all

if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its folder
        sys.exit("say where: python -m sensor.samples FOLDER")
    for path in write_all(Path(sys.argv[1])):
        sys.stdout.write(f"{path}\n")
