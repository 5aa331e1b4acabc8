"""The command `completion`: the script that has a shell complete commands and names."""

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(pipeline completion bash)"  # in ~/.bashrc',
    "zsh": 'eval "$(pipeline completion zsh)"  # in ~/.zshrc',
    "fish": "pipeline completion fish | source  # in ~/.config/fish/config.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what has a shell complete commands and names."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.ClickException(f"this version of click knows no completion for {shell}")
    root = ctx.find_root()
    click.echo(kind(root.command, {}, "pipeline", "_PIPELINE_COMPLETE").source())
