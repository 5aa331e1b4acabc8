"""What people see of the router's audit file. Pure."""

from collections.abc import Sequence

from pipeline_client.cli.views.text import Cell, cell, table
from pipeline_protocol.responses import AuditEntry

NOBODY = "-"
"""By whom: there are no keys, or it was done on the router's host."""


def change_lines(entries: Sequence[AuditEntry]) -> list[str]:
    """Return a table of changes."""
    if not entries:
        return ["nothing was changed yet"]
    return table(("WHEN", "WHO", "DID", "TO", "FROM", "NOW"), map(_row, entries))


def _row(entry: AuditEntry) -> tuple[Cell, ...]:
    subject = " ".join(cell(value) for value in entry.subject.values()) or NOBODY
    before, after = (cell(", ".join(words)) or NOBODY for words in (entry.before, entry.after))
    outcome: Cell = after
    if entry.outcome != "done":
        outcome = (f"not done: {cell(entry.outcome)}", "red")
    who = NOBODY if entry.principal is None else cell(entry.principal)
    return cell(entry.at), who, cell(entry.action), subject, before, outcome
