"""What another service installs to talk to a pipeline router."""

from typing import TYPE_CHECKING, Any

from pipeline_client._plans.call import Answer
from pipeline_client._plans.jobs import SolutionOptions
from pipeline_client._plans.retries import Retries
from pipeline_client.errors import (
    CallerError,
    ClientTimedOut,
    LimitError,
    MalformedReply,
    MissingReply,
    PipelineError,
    PlatformError,
    RequestError,
    ToolError,
)
from pipeline_client.sync import PipelineClient
from pipeline_protocol import BadAddress

if TYPE_CHECKING:
    from pipeline_client.aio import AsyncPipelineClient

__all__ = [
    "Answer",
    "AsyncPipelineClient",
    "BadAddress",
    "CallerError",
    "ClientTimedOut",
    "LimitError",
    "MalformedReply",
    "MissingReply",
    "PipelineClient",
    "PipelineError",
    "PlatformError",
    "RequestError",
    "Retries",
    "SolutionOptions",
    "ToolError",
]


def __getattr__(name: str) -> Any:
    """Import asyncio, which takes longer than all the rest, for those alone who use it."""
    if name == "AsyncPipelineClient":
        from pipeline_client.aio import AsyncPipelineClient

        return AsyncPipelineClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
