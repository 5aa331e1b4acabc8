"""A request's input into its job folder: which kind it is, and who brings it.

Nothing half: the input is there as a whole, or there is an error, and the job does not start.
"""

from pathlib import Path

from pipeline_containers.sandbox.limits import Limits
from pipeline_containers.system.deadline import Deadline
from pipeline_protocol.requests import SolutionRequest
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.inputs.local import copy_folder, write_files
from pipeline_worker.inputs.quota import InputQuota
from pipeline_worker.inputs.s3_clients import OpenBuckets
from pipeline_worker.inputs.s3_uri import find_place


class Inputs:
    """Brings inputs of every kind; from several threads at once."""

    def __init__(self, file_inputs: Path | None = None) -> None:
        """Read ``file://`` inputs beneath `file_inputs` only; None: not at all."""
        self._file_inputs = file_inputs
        self._buckets = OpenBuckets()

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next input on."""
        self._buckets.adopt(settings, credentials)

    def bring(
        self, request: SolutionRequest, folder: Path, limits: Limits, deadline: Deadline
    ) -> None:
        """Put the request's files into its job folder.

        Raises UnusableInput where the request is to blame, InputUnavailable where it is not,
        InputTimedOut and InputCancelled where nobody waits for it any more.
        """
        quota = InputQuota(limits.job_folder_files, limits.job_folder_bytes)
        if isinstance(request.files, dict):
            write_files(request.files, folder, quota)
            return
        uri = str(request.s3_uri)
        if uri.startswith("file:"):
            copy_folder(uri, self._file_inputs, folder, quota)
        else:
            place = find_place(uri, self._buckets.allowed)
            self._buckets.get(deadline).copy(place, folder, quota, deadline)

    def close(self) -> None:
        """Keep no connection."""
        self._buckets.close()
