"""Two for one."""


def two_fer(who: str = 'you') -> str:
    """Share with somebody, or with you."""
    # an f-string is the simplest
    return f"One for {who}, one for me."
