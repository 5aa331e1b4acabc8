"""Options, wiring, exit codes."""


def main() -> None:
    """Run the command line."""
