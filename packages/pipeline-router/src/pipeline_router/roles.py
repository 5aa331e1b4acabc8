"""What a key is good for: which requests, and which workers. No I/O, and nothing is remembered."""

from pipeline_protocol.requests import ConfigureWorker, Request, Role
from pipeline_router import refusals
from pipeline_router.principals import Principal, Sender
from pipeline_router.refusals import Refusal


def why_not(sender: Sender, request: Request) -> Refusal | None:
    """Return why a sender may not ask for that; None: it may."""
    if sender is None:
        return None
    if not sender.role.may_act_as(request.role):
        action = str(request.__struct_config__.tag)
        return refusals.other_role(action, request.role, sender.name, sender.role)
    if isinstance(request, ConfigureWorker) and not sender.serves(request.channel):
        return refusals.forbidden(_not_of_channel(sender, request.channel))
    return None


def why_not_serve(sender: Sender, identity: str, channel: str) -> str:
    """Say why a sender may not be the worker of that name and channel; nothing: it may."""
    if sender is None:
        return ""
    if not sender.role.may_act_as(Role.WORKER):
        return f"to serve needs a key of the role worker; {sender.name!r} is of the {sender.role}"
    if not sender.serves(channel):
        return _not_of_channel(sender, channel)
    if not identity.startswith(sender.identity):
        begin = f"whose names begin with {sender.identity!r}, not for {identity}"
        return f"the key {sender.name!r} is for workers {begin}"
    return ""


def _not_of_channel(sender: Principal, channel: str) -> str:
    return f"the key {sender.name!r} serves {', '.join(sorted(sender.channels))}, not {channel}"
