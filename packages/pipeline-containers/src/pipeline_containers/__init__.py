"""From a git reference to an image, a root file system and a running container.

The public names are imported from where they live, so that a program pays for what it uses:

    pipeline_containers.building   git, builder, build, validate
    pipeline_containers.images     registry, store, image
    pipeline_containers.sandbox    run, tools, limits, report
    pipeline_containers.errors     everything that is raised on purpose
"""

from pipeline_containers.errors import ContainersError
from pipeline_containers.images.image import ImageConfig, StoredImage
from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.sandbox.report import Ending, RunReport, Usage
from pipeline_containers.sandbox.tools import TOOLS, ToolKind

__all__ = [
    "TOOLS",
    "ContainersError",
    "Ending",
    "ImageConfig",
    "Limits",
    "RunReport",
    "StoredImage",
    "ToolKind",
    "Usage",
]
