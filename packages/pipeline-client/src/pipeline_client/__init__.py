"""What another service installs to talk to a pipeline router."""

from pipeline_client.calls import Answer, SolutionOptions
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

__all__ = [
    "Answer",
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
    "SolutionOptions",
    "ToolError",
]
