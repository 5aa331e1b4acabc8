"""The container that a builder's program runs in: its own ids, files, network and limits."""
