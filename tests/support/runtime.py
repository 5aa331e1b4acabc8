"""The container runtime that tests run with: runc, or as PIPELINE_RUNTIME says."""

import os

RUNTIME = os.environ.get("PIPELINE_RUNTIME", "runc")
