"""Request bodies, decoded strictly: numbers as strings, NUL bytes and wrong media are refused."""

import re
from collections.abc import Generator
from typing import Any, Final, TypeVar

import msgspec
from litestar.dto import AbstractDTO, DTOFieldDefinition
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from db.domain.errors import Invalid, WrongMediaType

T = TypeVar("T")
# after an escaped backslash `u0000` is plain text
ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class Strict(AbstractDTO[T]):
    """Decodes a JSON body into a struct as it stands; documents the struct itself."""

    def decode_bytes(self, value: bytes) -> Any:
        media = self.asgi_connection.headers.get("content-type", "").partition(";")[0].strip()
        if media.lower() != "application/json" and not media.lower().endswith("+json"):
            raise WrongMediaType
        return decode(value, self.model_type)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Generator[DTOFieldDefinition]:  # noqa: ARG003
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition) -> bool:  # noqa: ARG003
        return False

    @classmethod
    def create_for_field_definition(cls, *_: Any, **__: Any) -> None:
        """Nothing to prepare: the struct is its own transfer model."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003
        schema_creator: Any,
    ) -> Reference | Schema:
        return schema_creator.for_field_definition(field_definition)


def decode(body: bytes, model: type[T]) -> T:
    """Decode JSON; raise Invalid that names the field."""
    if b"\0" in body or (b"\\u0000" in body and ESCAPED_NUL.search(body)):
        raise Invalid("The request contains a NUL character.")
    try:
        return msgspec.json.decode(body, type=model)
    except msgspec.ValidationError as error:
        raise Invalid(_explain(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"Invalid JSON body: {error}") from None
    except RecursionError:
        raise Invalid("The JSON is nested too deeply.") from None


def _explain(text: str) -> str:
    problem, _, place = text.partition(" - at `$")
    field = place.rstrip("`").lstrip(".")
    return f"{field}: {problem}" if field else problem
