"""What skopeo says when it fails: whether it is worth another try, and what an operator can do."""

import re

from pipeline_containers.system.command import Completed, Stop

_ADVICE = (
    # What the registry says of itself, whether it may pass, what to do.
    (
        r"x509|certificate|HTTP response to HTTPS|first record does not look like a TLS",
        False,
        "check its address; SSL_CERT_FILE names further authorities to trust",
    ),
    (
        r"unauthorized|authentication required|denied|status ?code:? 40[13]|registry 40[13]|"
        r"no basic auth|token has expired",
        False,
        "log in again, or check what this account may read",
    ),
    (
        r"digest did not match|digest mismatch|doesn't match|does not match|invalid checksum|"
        r"verification failed|want size|gzip: invalid|invalid header|corrupt|archive/tar|"
        r"unsupported compression|error applying layer|processing tar file|unexpected manifest",
        False,
        "what it holds is not what was pushed: push the image again",
    ),
    (
        r"manifest unknown|name unknown|repository name not known|blob unknown|"
        r"status ?code:? 404|registry 404|no such file or directory",
        False,
        "a part of the image is not there any more: push it again",
    ),
    (r"stopped after 10 redirects", False, "it leads in a circle: check its address"),
    (r"no such host", True, "check its name, and this host's name servers"),
    (
        r"toomanyrequests|too many requests|status ?code:? 429|registry 429",
        True,
        "ask it less often",
    ),
    (
        r"status ?code:? 5\d\d|registry 5\d\d|internal server error|bad gateway|"
        r"service unavailable|gateway timeout|\b50[0234]\b",
        True,
        "it is in trouble itself: see its log",
    ),
    (
        r"connection refused|connection reset|broken pipe|unexpected EOF|\bEOF\b|i/o timeout|"
        r"timeout|timed out|no route to host|network is unreachable|server misbehaving|"
        r"use of closed network connection|http2: ",
        True,
        "check that it is up, and that there is a way to it",
    ),
)
_FULL = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_KINDS = tuple((re.compile(said, re.IGNORECASE), passing, do) for said, passing, do in _ADVICE)


def is_disk_full(done: Completed) -> bool:
    """Return whether it was this host's disk that made a call fail."""
    return _FULL.search(done.tail.strip().rpartition("\n")[2]) is not None


def is_passing(done: Completed) -> bool:
    """Return whether what made a call fail may be over in a moment."""
    if done.stop is not None:
        return done.stop is Stop.TIMED_OUT
    return _kind(done)[0]


def remedy(done: Completed) -> str:
    """Say, to be put behind the reason, what can be done; nothing where nobody knows."""
    if done.stop is Stop.TIMED_OUT:
        return "; check that it is up, and that there is a way to it"
    advice = _kind(done)[1] if done.stop is None else ""
    return f"; {advice}" if advice else ""


def _kind(done: Completed) -> tuple[bool, str]:
    """Find which trouble the last line tells of."""
    last = done.tail.strip().rpartition("\n")[2]
    return next(
        ((passing, advice) for said, passing, advice in _KINDS if said.search(last)), (False, "")
    )
