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
from pipeline_protocol.keys import BadKeys
from pipeline_protocol.responses import (
    Analysis,
    Audit,
    AvailableContainers,
    Build,
    Cancelled,
    Deployment,
    Pong,
    Recommendations,
    Representation,
    Told,
    WantedVersions,
    Workers,
    WorkerStatus,
)

if TYPE_CHECKING:
    __version__: str
    from pipeline_client.aio import AsyncPipelineClient

__all__ = [
    "Analysis",
    "Answer",
    "AsyncPipelineClient",
    "Audit",
    "AvailableContainers",
    "BadAddress",
    "BadKeys",
    "Build",
    "CallerError",
    "Cancelled",
    "ClientTimedOut",
    "Deployment",
    "LimitError",
    "MalformedReply",
    "MissingReply",
    "PipelineClient",
    "PipelineError",
    "PlatformError",
    "Pong",
    "Recommendations",
    "Representation",
    "RequestError",
    "Retries",
    "SolutionOptions",
    "Told",
    "ToolError",
    "WantedVersions",
    "WorkerStatus",
    "Workers",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load what takes long, asyncio and the installed version, for those alone who use it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pipeline-client")
    if name == "AsyncPipelineClient":
        from pipeline_client.aio import AsyncPipelineClient

        return AsyncPipelineClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
