"""Where frames come from: capture files, and the ring of a live interface."""
