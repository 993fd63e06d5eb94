"""swarmtap listens to TCP 7680: which machines gave Windows update bytes to which, and whether they might."""

__version__ = "0.1.0"
