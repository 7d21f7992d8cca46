"""What every verb is given: the environment, and the settings read from it when asked for."""

from collections.abc import Mapping
from typing import Final

from db.settings import Settings, load


class Context:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ: Final = environ
        self.server: str | None = None  # --server, when given

    def settings(self) -> Settings:
        """Read the settings; raises SettingsInvalid."""
        return load(self.environ)

    def url(self) -> str:
        """Say where the service is."""
        return (self.server or self.settings().url).rstrip("/")
