"""The families of cases: a table each."""

from hostile.families import (
    counts,
    disk,
    leftovers,
    memory,
    neighbours,
    network,
    output,
    privileges,
    processes,
    results,
    time,
)

FAMILIES = {
    "time": time.CASES,
    "processes": processes.CASES,
    "memory": memory.CASES,
    "counts": counts.CASES,
    "disk": disk.CASES,
    "output": output.CASES,
    "results": results.CASES,
    "privileges": privileges.CASES,
    "network": network.CASES,
    "leftovers": leftovers.CASES,
    "neighbours": neighbours.CASES,
}
