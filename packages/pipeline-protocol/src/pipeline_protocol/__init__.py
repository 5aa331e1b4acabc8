"""What pipeline's processes say to each other: messages, statuses, channels and addresses; no I/O.

Read `requests`, `replies` and `responses` for clients, `link` and `settings` for workers,
`channels` and `status` for the two tables; `codec` turns bytes into structs.
"""

from pipeline_protocol.address import BadAddress, RouterAddress, WorkerAddress
from pipeline_protocol.channels import CHANNELS, Channel
from pipeline_protocol.codec import BadMessage, BadRequest
from pipeline_protocol.status import STATUSES, Status

__all__ = [
    "CHANNELS",
    "STATUSES",
    "BadAddress",
    "BadMessage",
    "BadRequest",
    "Channel",
    "RouterAddress",
    "Status",
    "WorkerAddress",
]
