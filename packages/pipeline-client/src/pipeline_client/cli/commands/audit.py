"""The command that shows what was changed, and by whom."""

import click

from pipeline_client.cli.options import command, common, option
from pipeline_client.cli.session import Session
from pipeline_client.cli.views.changes import change_lines


@command()
@option(
    "--last",
    "limit",
    type=click.IntRange(1, 1000),
    default=20,
    show_default=True,
    help="How many changes.",
)
@common
def audit(session: Session, limit: int) -> None:
    """Show what was changed lately, when, and by whom.

    The router's audit file has more of them, a JSON line each.
    """
    found = session.client.audit(limit)
    session.out.result(found, change_lines(found.entries))
