"""The command `pipeline`, for operators and for whoever tries a solution by hand.

One noun a module; what is shown is decided by pure functions, printed at the edges.
"""

import sys


def main() -> None:
    """Run the command line; say what is missing where only the library was installed."""
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as missing:
        if missing.name not in ("click", "rich"):
            raise
        sys.exit(f"pipeline: {missing.name} is missing: pip install 'pipeline-client[cli]'")
    from pipeline_client.cli.root import root

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    root.main(prog_name="pipeline")
