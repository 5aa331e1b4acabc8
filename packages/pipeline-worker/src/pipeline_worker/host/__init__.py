"""The worker's host: its working folder, its builders' cache, its health."""
