"""Metrics, health and state of a process, over HTTP, by a process beside it."""
