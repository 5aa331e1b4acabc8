import sys


def two_fer(name="you"):
    sys.stdout.buffer.write(b"\xff" + b"x" * 600)
    return f"One for {name}, one for me."
