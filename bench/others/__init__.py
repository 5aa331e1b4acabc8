"""The same work through other systems: one module each, client and worker side by side.

`running` starts servers and workers and gives a function that keeps jobs in flight for some
seconds; `work` is what a worker process runs.
"""
