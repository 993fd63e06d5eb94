"""Sinks: what leaves. Each reads a `Case` (or the frames of one push) and knows nothing of the others."""
