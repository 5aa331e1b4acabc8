"""What tests make containers by: runc, or as PIPELINE_RUNTIME and PIPELINE_LAUNCHER say."""

import os

RUNTIME = os.environ.get("PIPELINE_RUNTIME", "runc")
LAUNCHER = os.environ.get("PIPELINE_LAUNCHER", "runc")
