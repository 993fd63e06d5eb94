"""swarmtap listens to TCP 7680 and says which machines gave Windows update bytes to which, and whether that was allowed."""

from typing import Final

__version__: Final = "0.1.0"
