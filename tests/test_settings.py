"""Settings as a deployment sees them: variables, a file, flags; what wins, what is refused, what is shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moderation.errors import SettingsError
from streams.settings import PREFIX, Settings, Topics, describe

SECRET = "hunter2"  # noqa: S105  it is the point of these tests that this word shows up nowhere


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from no variable of ours and a directory without .env."""
    for name in os.environ:
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def shown(settings: Settings) -> dict[str, tuple[str, str]]:
    return {name: (value, source) for name, value, source in describe(settings)}


def test_nothing_needs_to_be_set() -> None:
    settings = Settings.load()
    assert (settings.kafka, settings.redis, settings.brokers) == (None, None, ())
    assert settings.rules == (Path("rules"),)
    assert settings.metrics_host == "127.0.0.1"
    assert {source for _, source in shown(settings).values()} == {"default"}


def test_a_flag_beats_a_variable_beats_a_file_beats_the_default(env: pytest.MonkeyPatch) -> None:
    Path(".env").write_text(
        "QINGLIU_GROUP_ID=file\nQINGLIU_BATCH_RECORDS=7\nQINGLIU_PARTITIONS=3\nOTHER=1\n", encoding="utf-8"
    )
    env.setenv("QINGLIU_GROUP_ID", "variable")
    env.setenv("QINGLIU_BATCH_RECORDS", "8")
    settings = Settings.load({"group_id": "flag", "metrics_port": 0, "kafka": None})

    assert (settings.group_id, settings.batch_records, settings.partitions) == ("flag", 8, 3)
    told = shown(settings)
    assert told["QINGLIU_GROUP_ID"] == ("flag", "flag")
    assert told["QINGLIU_BATCH_RECORDS"] == ("8", "env")
    assert told["QINGLIU_PARTITIONS"] == ("3", ".env")
    assert told["QINGLIU_METRICS_PORT"] == ("0", "flag")
    assert told["QINGLIU_KAFKA"] == ("", "default")


def test_an_empty_variable_is_not_set(env: pytest.MonkeyPatch) -> None:
    env.setenv("QINGLIU_KAFKA", "")
    settings = Settings.load()
    assert settings.kafka is None
    assert shown(settings)["QINGLIU_KAFKA"] == ("", "default")


def test_the_environment_can_be_read_without_a_file() -> None:
    Path(".env").write_text("QINGLIU_GROUP_ID=file\n", encoding="utf-8")
    assert Settings.load(env_file=None).group_id == "qingliu"


@pytest.mark.parametrize(
    ("url", "brokers"),
    [
        ("kafka://one", ("one:9092",)),
        ("kafka://one:19092,two", ("one:19092", "two:9092")),
        ("kafka://one:1, two:2", ("one:1", "two:2")),
        ("kafka://[::1]:9093,[::2]", ("[::1]:9093", "[::2]:9092")),
        ("kafka://one:", ("one:9092",)),
    ],
)
def test_brokers_are_read_from_one_url(env: pytest.MonkeyPatch, url: str, brokers: tuple[str, ...]) -> None:
    env.setenv("QINGLIU_KAFKA", url)
    assert Settings.load().brokers == brokers


def test_rules_are_a_path_of_directories(env: pytest.MonkeyPatch) -> None:
    env.setenv("QINGLIU_RULES", os.pathsep.join(["rules", "/etc/qingliu/site", ""]))
    assert Settings.load().rules == (Path("rules"), Path("/etc/qingliu/site"))
    assert Settings.load({"rules": [Path("a"), Path("b")]}).rules == (Path("a"), Path("b"))


def test_groups_are_joined_by_two_underscores(env: pytest.MonkeyPatch) -> None:
    env.setenv("QINGLIU_KAFKA_TLS__ON", "true")
    env.setenv("QINGLIU_KAFKA_TLS__CA", "/ca.pem")
    env.setenv("QINGLIU_KAFKA_SASL__MECHANISM", "SCRAM-SHA-512")
    env.setenv("QINGLIU_KAFKA_SASL__USERNAME", "worker")
    env.setenv("QINGLIU_KAFKA_SASL__PASSWORD", SECRET)
    settings = Settings.load()
    assert settings.kafka_tls.ca == Path("/ca.pem")
    assert settings.kafka_sasl.password is not None
    assert settings.kafka_sasl.password.get_secret_value() == SECRET
    assert shown(settings)["QINGLIU_KAFKA_SASL__USERNAME"] == ("worker", "env")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        (f"redis://:{SECRET}@store:6379/2", "redis://******@store:6379/2"),
        (f"rediss://worker:{SECRET}@store", "rediss://******@store"),
        (f"rediss://store/0?ssl_ca_certs=/ca&password={SECRET}", "rediss://store/0?******"),
        (f"redis://u:{SECRET}%40x@store:1", "redis://******@store:1"),
        ("redis://store:6379/0", "redis://store:6379/0"),
    ],
)
def test_secrets_are_shown_nowhere(env: pytest.MonkeyPatch, url: str, masked: str) -> None:
    env.setenv("QINGLIU_REDIS", url)
    env.setenv("QINGLIU_KAFKA_SASL__MECHANISM", "PLAIN")
    env.setenv("QINGLIU_KAFKA_SASL__USERNAME", "worker")
    env.setenv("QINGLIU_KAFKA_SASL__PASSWORD", f"http://{SECRET}/x")
    settings = Settings.load()
    told = shown(settings)
    assert told["QINGLIU_REDIS"] == (masked, "env")
    assert told["QINGLIU_KAFKA_SASL__PASSWORD"] == ("******", "env")
    assert SECRET not in f"{told} {settings!r} {settings} {settings.model_dump_json()}"
    assert settings.redis is not None
    assert settings.redis.get_secret_value() == url


WRONG = [
    ("QINGLIU_KAFKA", "host:9092", "QINGLIU_KAFKA: write it as kafka://"),
    ("QINGLIU_KAFKA", "kafka://", "QINGLIU_KAFKA: write it as kafka://"),
    ("QINGLIU_KAFKA", "kafka://a,,b", "QINGLIU_KAFKA: write it as kafka://"),
    ("QINGLIU_KAFKA", "kafka://a:70000", "QINGLIU_KAFKA: Port out of range"),
    ("QINGLIU_KAFKA", f"kafka://u:{SECRET}@a", "QINGLIU_KAFKA: user and password belong in QINGLIU_KAFKA_SASL__"),
    ("QINGLIU_REDIS", f"http://:{SECRET}@a", "QINGLIU_REDIS: write it as redis://"),
    ("QINGLIU_REDIS", f"redis://:x:{SECRET}/y@a", "QINGLIU_REDIS: write it as redis://"),
    ("QINGLIU_REDIS", "redis://", "QINGLIU_REDIS: write it as redis://"),
    ("QINGLIU_REDIS_PREFIX", "{ql}", "QINGLIU_REDIS_PREFIX: String should match"),
    ("QINGLIU_TOPIC_PREFIX", "prod/", "QINGLIU_TOPIC_PREFIX: String should match"),
    ("QINGLIU_TOPIC_PREFIX", "x" * 201, "QINGLIU_TOPIC_PREFIX: String should have at most 200"),
    ("QINGLIU_RULES", os.pathsep, "QINGLIU_RULES: "),
    ("QINGLIU_BATCH_RECORDS", "0", "QINGLIU_BATCH_RECORDS: Input should be greater than or equal to 1"),
    ("QINGLIU_BATCH_RECORDS", "many", "QINGLIU_BATCH_RECORDS: Input should be a valid integer"),
    ("QINGLIU_STORE_TIMEOUT_S", "nan", "QINGLIU_STORE_TIMEOUT_S: "),
    ("QINGLIU_METRICS_PORT", "tcp://10.0.0.1:8787", "QINGLIU_METRICS_PORT: Input should be a valid integer"),
    ("QINGLIU_LOG_LEVEL", "loud", "QINGLIU_LOG_LEVEL: Input should be 'debug', 'info'"),
    ("QINGLIU_HEARTBEAT_S", "9", "QINGLIU_HEARTBEAT_S must be at most a third of QINGLIU_SESSION_TIMEOUT_S (20)"),
    ("QINGLIU_KAFKA_TLS__CA", "/ca.pem", "QINGLIU_KAFKA_TLS__ON must be true"),
    ("QINGLIU_KAFKA_SASL__PASSWORD", SECRET, "QINGLIU_KAFKA_SASL__MECHANISM, __USERNAME and __PASSWORD go together"),
    ("QINGLIU_KAFKA_SASL__MECHANISM", "GSSAPI", "QINGLIU_KAFKA_SASL__MECHANISM: Input should be 'PLAIN'"),
    ("QINGLIU_KAFKA_SASL", "{}", "QINGLIU_KAFKA_SASL is no setting: did you mean QINGLIU_KAFKA_SASL__MECHANISM"),
    ("QINGLIU_BATCH_RECORD", "5", "QINGLIU_BATCH_RECORD is no setting: did you mean QINGLIU_BATCH_RECORDS?"),
    ("QINGLIU_KAFAK", "kafka://a", "QINGLIU_KAFAK is no setting: did you mean QINGLIU_KAFKA?"),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
@pytest.mark.parametrize("where", ["env", ".env"])
def test_what_makes_no_sense_is_refused_in_one_line_that_names_it(
    env: pytest.MonkeyPatch, where: str, name: str, value: str, message: str
) -> None:
    if where == "env":
        env.setenv(name, value)
    else:
        Path(".env").write_text(f"{name}='{value}'\n", encoding="utf-8")
    with pytest.raises(SettingsError) as told:
        Settings.load()
    assert str(told.value).startswith(message)
    assert "\n" not in str(told.value)
    assert SECRET not in str(told.value)
    assert told.value.__cause__ is None


def test_all_that_is_wrong_is_named(env: pytest.MonkeyPatch) -> None:
    env.setenv("QINGLIU_PARTITIONS", "x")
    env.setenv("QINGLIU_KAFKA", "y")
    with pytest.raises(SettingsError, match=r"QINGLIU_KAFKA: .*; QINGLIU_PARTITIONS: "):
        Settings.load()


def test_a_certificate_needs_its_key(env: pytest.MonkeyPatch) -> None:
    env.setenv("QINGLIU_KAFKA_TLS__ON", "true")
    env.setenv("QINGLIU_KAFKA_TLS__CERT", "/cert.pem")
    with pytest.raises(SettingsError, match=r"QINGLIU_KAFKA_TLS__CERT and QINGLIU_KAFKA_TLS__KEY go together"):
        Settings.load()


def test_what_kubernetes_sets_for_a_service_of_our_name_is_no_typo(env: pytest.MonkeyPatch) -> None:
    for name in ("SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_8787_TCP", "PORT_8787_TCP_ADDR", "KAFKA_SERVICE_HOST",
                 "KAFKA_PORT", "REDIS_PORT", "REDIS_PORT_6379_TCP"):  # fmt: skip
        env.setenv(f"QINGLIU_{name}", "tcp://10.0.0.1:8787")
    assert Settings.load().metrics_port == 8787


def test_a_file_that_is_no_text_is_refused() -> None:
    Path(".env").write_bytes(b"QINGLIU_GROUP_ID=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env cannot be read"):
        Settings.load()


def test_every_setting_is_described_once_and_by_a_name_that_can_be_set(env: pytest.MonkeyPatch) -> None:
    described = describe(Settings.load())
    names = [setting.name for setting in described]
    assert len(set(names)) == len(names)
    together = {
        "QINGLIU_KAFKA_TLS__ON": "true",
        "QINGLIU_KAFKA_TLS__CERT": "/c",
        "QINGLIU_KAFKA_TLS__KEY": "/k",
        "QINGLIU_KAFKA_TLS__CA": "/a",
        "QINGLIU_KAFKA_SASL__MECHANISM": "PLAIN",
        "QINGLIU_KAFKA_SASL__USERNAME": "u",
        "QINGLIU_KAFKA_SASL__PASSWORD": SECRET,
        "QINGLIU_KAFKA": "kafka://a",
        "QINGLIU_REDIS": "redis://a",
        "QINGLIU_INSTANCE_ID": "w-0",
        "QINGLIU_TOPIC_PREFIX": "prod.",
        "QINGLIU_AUDIT_KEY": "x" * 16,
    }
    for name, value, _ in described:
        env.setenv(name, together.get(name, value))
    assert {setting.source for setting in describe(Settings.load())} == {"env"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().group_id = "other"


def test_topics_stand_under_the_prefix(env: pytest.MonkeyPatch) -> None:
    assert Settings.load().topics == Topics(
        world="chat.world",
        private="chat.private",
        commands="moderation.commands",
        enforcement="moderation.enforcement",
        cases="moderation.cases",
        acks="moderation.acks",
        appeals="moderation.appeals",
        dead_letters="moderation.dead-letters",
        audit="moderation.audit",
    )
    env.setenv("QINGLIU_TOPIC_PREFIX", "x" * 200)
    assert max(map(len, Settings.load().topics)) <= 249
    assert all(name.startswith("x" * 200) for name in Settings.load().topics)
