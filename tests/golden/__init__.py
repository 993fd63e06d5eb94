"""What each sample capture says, written down: tables as JSON lines, incidents, how much of the protocol is seen."""
