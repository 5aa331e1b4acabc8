"""From a git reference to an image, a root file system and a running container.

The names here are loaded when they are first used, so that a program pays for what it uses. The
rest is imported from where it lives:

    pipeline_containers.building     git references become images
    pipeline_containers.registries   where published images are
    pipeline_containers.store        the images of this host
    pipeline_containers.sandbox      runs of tools in containers
    pipeline_containers.errors       everything that is raised on purpose
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline_containers.errors import ContainersError
    from pipeline_containers.images.image import ImageConfig, StoredImage
    from pipeline_containers.registries.kinds import open_registry
    from pipeline_containers.sandbox.limits import Limits
    from pipeline_containers.sandbox.result.report import Ending, RunReport, Usage
    from pipeline_containers.sandbox.sandbox import Sandbox
    from pipeline_containers.sandbox.tool_run import ToolRun
    from pipeline_containers.sandbox.tools import TOOLS, ToolKind
    from pipeline_containers.store.store import Store

__all__ = [
    "TOOLS",
    "ContainersError",
    "Ending",
    "ImageConfig",
    "Limits",
    "RunReport",
    "Sandbox",
    "Store",
    "StoredImage",
    "ToolKind",
    "ToolRun",
    "Usage",
    "open_registry",
]

_MODULES = {
    "ContainersError": "errors",
    "Ending": "sandbox.result.report",
    "ImageConfig": "images.image",
    "Limits": "sandbox.limits",
    "RunReport": "sandbox.result.report",
    "Sandbox": "sandbox.sandbox",
    "Store": "store.store",
    "StoredImage": "images.image",
    "TOOLS": "sandbox.tools",
    "ToolKind": "sandbox.tools",
    "ToolRun": "sandbox.tool_run",
    "Usage": "sandbox.result.report",
    "open_registry": "registries.kinds",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that it lives in."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names, for people who explore."""
    return sorted({*globals(), *__all__})
