"""The registry that the settings in force name, opened once."""

import threading

from pipeline_containers.errors import RegistryError
from pipeline_containers.registries.kinds import open_registry
from pipeline_containers.registries.registry import Registry
from pipeline_protocol.settings import Credentials, Settings
from pipeline_worker.aws import aws_credentials, expired


class OpenRegistry:
    """Keeps a registry open as long as the settings name the same one: it may have a login.

    From any thread. Who was given a registry goes on with it, whatever the settings say by then.
    """

    def __init__(self) -> None:
        self._place = Settings().registry
        self._credentials: Credentials | None = None
        self._opened: Registry | None = None
        self._lock = threading.Lock()

    def adopt(self, settings: Settings, credentials: Credentials | None) -> None:
        """Work by these settings from the next look on."""
        with self._lock:
            if (settings.registry, credentials) != (self._place, self._credentials):
                self._opened = None
            self._place, self._credentials = settings.registry, credentials

    def get(self) -> Registry:
        """Return the registry, opened if need be; raises `RegistryError` if it cannot be."""
        with self._lock:
            if self._place.kind == "ecr" and (why := expired(self._credentials)):
                raise RegistryError(why)
            if self._opened is None:
                place, aws = self._place, aws_credentials(self._credentials)
                self._opened = open_registry(place.kind, place.location, aws)
            return self._opened
