"""One container: its root, its mounts, its configuration, the runtime that makes it."""
