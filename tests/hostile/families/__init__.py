"""The families of cases: a table each."""

from hostile.families import (
    disk,
    leftovers,
    memory,
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
    "disk": disk.CASES,
    "output": output.CASES,
    "results": results.CASES,
    "privileges": privileges.CASES,
    "network": network.CASES,
    "leftovers": leftovers.CASES,
}
