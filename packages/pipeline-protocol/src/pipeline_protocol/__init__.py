"""What pipeline's processes say to each other: messages, statuses, channels and addresses; no I/O."""
