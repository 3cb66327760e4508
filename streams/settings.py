"""Settings: the only place that reads the environment.

A flag beats a variable `QINGLIU_…`, which beats `.env`, which beats the default. Parts of a group are joined by two
underscores: `QINGLIU_KAFKA_TLS__CA`. An empty variable counts as not set.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from moderation.errors import SettingsError
from moderation.signature import Signing
from streams.canary import TEXT
from streams.cluster import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX: Final = "QINGLIU_"
_MASK: Final = "******"
#: Characters of a signing key: half as many bytes in hex, and no guessing.
_SECRET_LEAST: Final = 32
_KAFKA_PORT: Final = 9092

Source = Literal["flag", "env", ".env", "default"]


class Topics(NamedTuple):
    """The names of all topics, as docs/contracts describes them."""

    world: str
    private: str
    commands: str
    enforcement: str
    cases: str
    acks: str
    appeals: str
    dead_letters: str
    audit: str

    @classmethod
    def under(cls, prefix: str) -> Topics:
        """Return the names with `prefix` in front, as it is: write "prod." if you want a dot.

        >>> Topics.under("prod.").world
        'prod.chat.world'
        """
        return cls(
            world=f"{prefix}chat.world",
            private=f"{prefix}chat.private",
            commands=f"{prefix}moderation.commands",
            enforcement=f"{prefix}moderation.enforcement",
            cases=f"{prefix}moderation.cases",
            acks=f"{prefix}moderation.acks",
            appeals=f"{prefix}moderation.appeals",
            dead_letters=f"{prefix}moderation.dead-letters",
            audit=f"{prefix}moderation.audit",
        )


class Setting(NamedTuple):
    """One setting as people see it: the variable's name, its value with secrets masked, and where it came from."""

    name: str
    value: str
    source: Source


def _brokers(url: str) -> tuple[str, ...]:
    """Read kafka://host:9092,host2 as ("host:9092", "host2:9092")."""
    scheme, found, hosts = url.partition("://")
    if scheme != "kafka" or not found:
        raise ValueError("write it as kafka://host:9092,host2:9092")
    if "@" in hosts:
        raise ValueError(f"user and password belong in {PREFIX}KAFKA_SASL__USERNAME and {PREFIX}KAFKA_SASL__PASSWORD")
    parts = [urlsplit(f"//{host.strip()}") for host in hosts.split(",")]
    if any(not part.hostname or part.path for part in parts):
        raise ValueError("write it as kafka://host:9092,host2:9092")
    return tuple(part.netloc if part.port else f"{part.netloc.rstrip(':')}:{_KAFKA_PORT}" for part in parts)


def _kafka_url(url: str) -> str:
    _brokers(url)
    return url


def _redis_url(url: SecretStr) -> SecretStr:
    if not is_address(url.get_secret_value()):
        raise ValueError(
            "write it as redis://host:6379/0, or rediss:// for TLS; of a cluster redis+cluster://host:7000"
        )
    return url


def _secrets(value: Any) -> Any:
    """Read "new,old"."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _long_enough(keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if any(len(key.get_secret_value()) < _SECRET_LEAST for key in keys):
        raise ValueError(f"each key needs at least {_SECRET_LEAST} characters: openssl rand -hex 32")
    return keys


def _directories(value: Any) -> Any:
    """Read "rules:site" the way PATH is read."""
    return tuple(part for part in value.split(os.pathsep) if part) if isinstance(value, str) else value


KafkaUrl = Annotated[str, AfterValidator(_kafka_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Keys = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_secrets), AfterValidator(_long_enough)]
Directories = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_directories), Field(min_length=1)]
#: What Kafka allows in a name; 200 leaves room for the longest topic of ours under its limit of 249.
KafkaName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]*$", max_length=200)]


class KafkaTls(BaseModel):
    """TLS to the brokers. Without `ca` the system's certificates are trusted; `cert` and `key` are for mutual TLS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.on and (self.ca or self.cert or self.key):
            raise ValueError(f"{PREFIX}KAFKA_TLS__ON must be true where certificates are given")
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{PREFIX}KAFKA_TLS__CERT and {PREFIX}KAFKA_TLS__KEY go together")
        return self


class KafkaSasl(BaseModel):
    """How we log in to the brokers; no mechanism = we do not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = (self.mechanism is not None, self.username is not None, self.password is not None)
        if any(given) and not all(given):
            raise ValueError(f"{PREFIX}KAFKA_SASL__MECHANISM, __USERNAME and __PASSWORD go together")
        return self


class Settings(BaseSettings):
    """Everything a deployment may choose. Build it with `Settings.load`; times are in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
    )

    kafka: KafkaUrl | None = Field(None, description="brokers; not set = the embedded broker")
    kafka_tls: KafkaTls = KafkaTls()
    kafka_sasl: KafkaSasl = KafkaSasl()
    redis: RedisUrl | None = Field(None, description="the ledger's store; not set = the embedded store")
    redis_prefix: str = Field("ql", pattern=r"^[A-Za-z0-9_.:-]{1,64}$", description="in front of every key")

    event_keys: Keys = Field((), description="with commas; every event must be signed with one of them")
    command_keys: Keys = Field((), description="the same for commands; we sign ours with the first")

    topic_prefix: KafkaName = Field("", description="in front of every topic, as it is")
    group_id: KafkaName = Field("qingliu", min_length=1, description="the workers' consumer group")
    instance_id: KafkaName | None = Field(
        None, min_length=1, description="unique and stable name of this worker: a restart then moves no partition"
    )
    processes: int = Field(1, ge=1, le=128, description="workers that one `qingliu worker` runs, one a core")
    partitions: int = Field(12, ge=1, le=1000, description="of each topic we create")
    replication: int = Field(1, ge=1, le=9, description="of each topic we create")
    embedded_max_bytes: int = Field(256 * 2**20, ge=2**20, description="what the embedded broker may keep")

    rules: Directories = Field((Path("rules"),), description="directories of rules; later ones override")
    rules_watch: bool = Field(
        default=False, description="for writing rules: reload the directories when they change, take nothing published"
    )

    batch_records: int = Field(500, ge=1, le=10_000, description="a batch ends at so many records")
    batch_bytes: int = Field(2**20, ge=16 * 1024, le=64 * 2**20, description="or at so many bytes")
    dead_letter_share: float = Field(
        0.5, gt=0, le=1, description="of the last 200 records; a worker stops beyond it, unacknowledged; 1 = never"
    )
    session_timeout_s: float = Field(20.0, ge=1, le=300, description="a silent worker loses its partitions after this")
    heartbeat_s: float = Field(3.0, gt=0, le=100, description="at most a third of the session timeout")
    produce_timeout_s: float = Field(15.0, ge=1, le=120, description="until a record counts as not sent and is retried")
    store_timeout_s: float = Field(0.25, ge=0.01, le=10, description="for each answer of Redis")
    stall_s: float = Field(
        60.0, ge=10, le=3600, description="a partition with records waiting that moves on no more ends the worker"
    )
    shutdown_s: float = Field(15.0, ge=1, le=600, description="until a worker that was told to stop is ended")

    canary_text: str = Field(
        TEXT, min_length=1, max_length=200, description="what qingliu observe says; the rules must act on it"
    )
    canary_every_s: float = Field(60.0, ge=0, le=3600, description="how often; 0 = never")
    ack_within_s: float = Field(60.0, ge=1, le=3600, description="an action or canary not answered by then is counted")
    audit_key: SecretStr | None = Field(
        None, min_length=16, description="of the audit log: without it nobody can make the chain anew"
    )

    metrics_host: str = Field("127.0.0.1", min_length=1, description="where /metrics, /livez and /readyz listen")
    metrics_port: int = Field(8787, ge=0, le=65535, description="0 = a free port")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    _sources: dict[str, Source] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _heartbeats_in_time(self) -> Self:
        if self.heartbeat_s * 3 > self.session_timeout_s:
            raise ValueError(
                f"{PREFIX}HEARTBEAT_S must be at most a third of {PREFIX}SESSION_TIMEOUT_S ({self.session_timeout_s:g})"
            )
        return self

    @classmethod
    def load(cls, flags: Mapping[str, Any] | None = None, *, env_file: Path | None = Path(".env")) -> Settings:
        """Read flags (by field name; None = not given), the environment and `env_file`.

        Raises SettingsError whose one line names the variables that are wrong, without their values.
        """
        given = {name: value for name, value in (flags or {}).items() if value is not None}
        in_file = _read(env_file) if env_file and env_file.is_file() else {}
        _refuse_typos({name.upper() for name in (*os.environ, *in_file) if name.upper().startswith(PREFIX)})
        try:
            settings = cls(**{"_env_file": env_file, **given})
        except ValidationError as exc:
            raise SettingsError("; ".join(_complaints(exc))) from None
        settings._sources.update(_sources(given, os.environ, in_file))
        return settings

    @property
    def brokers(self) -> tuple[str, ...]:
        """Return "host:port" of each broker of `kafka`; none where the broker is embedded."""
        return _brokers(self.kafka) if self.kafka else ()

    @property
    def topics(self) -> Topics:
        """Return the names of all topics."""
        return Topics.under(self.topic_prefix)

    @property
    def signing(self) -> Signing:
        """Return what records must be signed with."""
        return Signing(
            *(tuple(k.get_secret_value().encode() for k in ks) for ks in (self.event_keys, self.command_keys))
        )

    def source(self, variable: str) -> Source:
        """Return where the value of a variable came from."""
        return self._sources.get(variable, "default")


def describe(settings: Settings) -> list[Setting]:
    """Return every setting in the order of the class, parts of a group each on its own."""
    return [Setting(name, _show(value), settings.source(name)) for name, value in _leaves(settings)]


def _leaves(model: BaseModel, prefix: str = PREFIX) -> Iterator[tuple[str, Any]]:
    for field in type(model).model_fields:
        value = getattr(model, field)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{field.upper()}__")
        else:
            yield f"{prefix}{field.upper()}", value


def _show(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return _masked(value.get_secret_value())
    if isinstance(value, tuple) and value and isinstance(value[0], SecretStr):
        return ",".join(_MASK for _ in value)
    if isinstance(value, tuple):
        return os.pathsep.join(map(str, value))
    return str(value)


def _masked(secret: str) -> str:
    """Mask a secret; of Redis' URL show where it points: scheme, host, port and database."""
    if not is_address(secret):
        return _MASK
    parts = urlsplit(secret)
    login, at, place = parts.netloc.rpartition("@")
    return f"{parts.scheme}://{_MASK if login else ''}{at}{place}{parts.path}{'?' + _MASK if parts.query else ''}"


def _sources(
    given: Mapping[str, Any], environ: Mapping[str, str], in_file: Mapping[str, str | None]
) -> dict[str, Source]:
    """Return where each variable that was set came from; the strongest last."""
    flags = {f"{PREFIX}{name.upper()}": value for name, value in given.items()}
    origins: tuple[tuple[Source, Mapping[str, Any]], ...] = ((".env", in_file), ("env", environ), ("flag", flags))
    return {
        name.upper(): source for source, values in origins for name, value in values.items() if value not in ("", None)
    }


def _read(env_file: Path) -> dict[str, str | None]:
    try:
        return dotenv_values(env_file)
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{env_file} cannot be read: {exc}") from None


def _refuse_typos(names: set[str]) -> None:
    """Refuse a variable that is nearly one of ours: it would be ignored, and nobody would notice.

    Others with our prefix pass: Kubernetes sets QINGLIU_SERVICE_HOST and the like for a Service named qingliu.
    """
    known = [name for name, _ in _leaves(Settings.model_construct())]
    for name in sorted(names.difference(known)):
        parts = [one for one in known if one.startswith(f"{name}__")]
        if near := parts or get_close_matches(name, known, n=1, cutoff=0.9):
            raise SettingsError(f"{name} is no setting: did you mean {' or '.join(near)}?")


def _complaints(exc: ValidationError) -> Iterator[str]:
    for error in exc.errors(include_input=False, include_url=False):
        name = PREFIX + "__".join(str(part) for part in error["loc"] if isinstance(part, str)).upper()
        message = error["msg"].removeprefix("Value error, ")
        yield message if message.startswith(PREFIX) or not error["loc"] else f"{name}: {message}"
