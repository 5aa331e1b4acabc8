"""Which digest each wanted version has: the router asks builders, who look at the registry.

No other worker's word counts for more than itself: one that lies would have all others fail.
"""

import msgspec

from pipeline_protocol import status
from pipeline_protocol.codec import BadMessage, decode_reply
from pipeline_protocol.responses import AvailableContainers
from pipeline_router.admission import Admission
from pipeline_router.commands import Command, Note
from pipeline_router.deployments import Deployments
from pipeline_router.dispatch import Dispatcher
from pipeline_router.model import Inquiry
from pipeline_router.sessions import Sessions

ASK_AGAIN_S = 60.0
"""How often the registry is looked at for a digest that it did not have, or did not say."""


class Digests:
    """Asks for the digests that are not known, and takes in what is found."""

    def __init__(
        self,
        out: list[Command],
        dispatcher: Dispatcher,
        admission: Admission,
        deployments: Deployments,
        sessions: Sessions,
    ) -> None:
        self._out = out
        self._dispatcher = dispatcher
        self._admission = admission
        self._deployments = deployments
        self._sessions = sessions
        self._asked: dict[Inquiry, float] = {}
        """When a builder was last asked, for as long as the digest is not known."""
        self._problems: dict[Inquiry, str] = {}
        """Why it was not found, as far as that was said in the log."""

    def ask(self, now: float) -> None:
        """Have builders that have room look for what is not known."""
        never = float("-inf")
        self._asked = {one: self._asked.get(one, never) for one in self._deployments.unpinned()}
        self._problems = {one: why for one, why in self._problems.items() if one in self._asked}
        for inquiry in [one for one, at in self._asked.items() if now - at >= ASK_AGAIN_S]:
            if self._dispatcher.stopping or not self._admission.inquire(inquiry, now):
                return
            self._asked[inquiry] = now

    def learn(self, now: float) -> None:
        """Take in what builders have found since."""
        answers, self._dispatcher.answers = self._dispatcher.answers, []
        for inquiry, body in answers:
            digest, problem = _read(inquiry, body)
            if digest is None:
                self._tell(inquiry, problem)
                continue
            self._problems.pop(inquiry, None)
            if self._deployments.pin(inquiry.channel, inquiry.track, inquiry.version, digest):
                self._sessions.pinned(inquiry, digest, now)

    def _tell(self, inquiry: Inquiry, problem: str) -> None:
        """Say once why a digest is not known."""
        if self._problems.get(inquiry) != problem:
            self._problems[inquiry] = problem
            named = (inquiry.version, inquiry.track, problem)
            self._out.append(Note("warning", "the digest of %s of %s is not known: %s", named))


def _read(inquiry: Inquiry, body: bytes) -> tuple[str | None, str]:
    """Return the digest in a builder's reply, or why there is none."""
    try:
        reply = decode_reply(body)
        if reply.status.code != status.OK or not isinstance(reply.response, msgspec.Raw):
            return None, str(reply.status.error or reply.status.message)
        found = msgspec.json.decode(reply.response, type=AvailableContainers)
    except (BadMessage, msgspec.DecodeError, RecursionError) as error:
        return None, f"a builder's answer makes no sense: {error}"
    return found.digests.get(inquiry.version), "the registry has no such version"
