"""Write the golden files anew: ``uv run python -m tests.wire.regenerate``.

Only when the protocol is meant to change: other people's clients and workers speak the old bytes.
Read the difference, and say it in pipeline-protocol's CHANGELOG.
"""

import shutil

from . import golden


def main() -> None:
    shutil.rmtree(golden.FOLDER, ignore_errors=True)
    for path, data in golden.files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
