"""Every setting of every program: one struct, read from the environment once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, cast
from urllib.parse import urlsplit, urlunsplit

import msgspec

from db.domain.errors import Invalid

PREFIX: Final = "ASSAY_"
UNPREFIXED: Final = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url"}
SCHEMES: Final = {
    "database_url": ("postgresql", "postgres"),
    "redis_url": ("redis", "rediss", "unix"),
    "url": ("http", "https"),
    "sim_url": ("http", "https"),
}
# read by run.py before this program exists
BOOTSTRAP: Final = frozenset(("ASSAY_VENV",))

Positive = Annotated[float, msgspec.Meta(gt=0, le=366 * 24 * 3600)]  # finite
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class SettingsInvalid(Invalid):
    """The settings are not valid."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each field is read from ASSAY_<NAME>, or from the file that ASSAY_<NAME>_FILE names."""

    database_url: str = "postgresql://assay@localhost/assay"
    redis_url: str = "redis://localhost:6379/0"
    auth: Literal["open", "required"] = "required"
    accept_open: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8501
    url: str = "http://127.0.0.1:8501"  # where the command line finds the service
    sim_url: str = "http://127.0.0.1:8599"
    egress_allow: tuple[str, ...] = ()  # host:port pairs that may be called though not public
    slots: Count = 16  # slices one worker process executes at a time
    user_concurrency: Count = 8  # slices one user may have rung or running at a time
    lease_s: Positive = 8.0
    heartbeat_s: Positive = 2.0
    flush_s: Positive = 0.03
    drain_s: Positive = 20.0  # how long a stopping worker waits for its calls
    pool_size: Count = 10
    provider_concurrency: Count = 1024  # calls in flight at one provider, over all workers
    provider_rps: Annotated[float, msgspec.Meta(ge=0)] = (
        0.0  # calls per second and provider; 0: no limit
    )
    connect_timeout_s: Positive = 10.0
    ttft_timeout_s: Positive = 60.0
    idle_timeout_s: Positive = 60.0
    total_timeout_s: Positive = 600.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    answer_limit_bytes: Count | Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 8 << 20
    cors_origins: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    version: str = "0.1.0"
    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0


LISTS: Final = frozenset(("egress_allow", "cors_origins"))


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings; raise SettingsInvalid that names the variable at fault."""
    raw: dict[str, object] = {}
    for name, value in environ.items():
        field, text = _field(name, value)
        if field:
            raw[field] = _split(text) if field in LISTS else text
    try:
        settings = msgspec.convert(raw, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsInvalid(_explain(error)) from None
    for field, schemes in SCHEMES.items():
        if urlsplit(getattr(settings, field)).scheme not in schemes:
            raise SettingsInvalid(f"{variable(field)}: must begin with {' or '.join(schemes)}://.")
    return settings


def redacted(settings: Settings) -> dict[str, str]:
    """Give every setting as text, without the passwords in URLs."""
    values = msgspec.structs.asdict(settings)
    return {name: _redact(value) for name, value in values.items()}


def variable(field: str) -> str:
    """Name the environment variable of a field."""
    plain = {name: env for env, name in UNPREFIXED.items()}
    return plain.get(field, PREFIX + field.upper())


def _field(name: str, value: str) -> tuple[str, str]:
    """Map a variable to its field and text; ("", "") for one that is not ours."""
    from_file = name.endswith("_FILE")
    stem = name.removesuffix("_FILE")
    if stem in UNPREFIXED:
        field = UNPREFIXED[stem]
    elif name.startswith(PREFIX) and name not in BOOTSTRAP:
        field = stem.removeprefix(PREFIX).lower()
        if field not in Settings.__struct_fields__:
            raise SettingsInvalid(f"{name} is not a setting; `assay config` lists all of them.")
    else:
        return "", ""
    return field, _read(name, value) if from_file else value


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingsInvalid(f"{name}: cannot read {path}: {error.strerror}.") from None


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _explain(error: msgspec.ValidationError) -> str:
    problem, _, place = str(error).partition(" - at `$.")
    field = place.rstrip("`").split("[")[0]
    return f"{variable(field)}: {problem}." if field else f"{problem}."


def _redact(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, cast("tuple[object, ...]", value)))
    text = re.sub(r"([?&]\w*password=)[^&]*", r"\1***", str(value))
    parts = urlsplit(text)
    if not parts.password:
        return text
    netloc = parts.netloc.replace(f":{parts.password}@", ":***@")
    return urlunsplit(parts._replace(netloc=netloc))
