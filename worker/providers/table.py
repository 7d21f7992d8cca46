"""The wires there are."""

from collections.abc import Mapping
from typing import Final

from worker.providers import anthropic, gemini, openai
from worker.providers.wire import Wire

WIRES: Final[Mapping[str, Wire]] = {
    "openai": openai.WIRE,
    "anthropic": anthropic.WIRE,
    "gemini": gemini.WIRE,
}
