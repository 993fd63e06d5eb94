"""swarmtap listens to TCP 7680 and says which machines gave Windows update bytes to which, and whether that was allowed."""

__version__ = "0.1.0"
