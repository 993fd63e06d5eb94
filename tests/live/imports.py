"""The sensor, and what it imports once it has given up its privileges: `python -m tests.live.imports FILE watch …`."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from sensor import privileges
from sensor.cli import main


def tell_of(path: Path) -> None:
    """Write the names of modules that are imported from the drop on to a file, again and again."""
    drop = privileges.drop

    def dropped(who: privileges.Person | None) -> None:
        drop(who)
        before = {*sys.modules}

        def run() -> None:
            while True:
                path.write_text("".join(f"{name}\n" for name in sorted({*sys.modules} - before)))
                time.sleep(0.2)

        threading.Thread(target=run, daemon=True).start()

    privileges.drop = dropped


if __name__ == "__main__":
    tell_of(Path(sys.argv.pop(1)))
    main()
