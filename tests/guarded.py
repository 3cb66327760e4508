"""Servers that ask who you are: Apache Kafka with TLS, SCRAM and ACLs; Valkey with users, and TLS in front of it.

Certificates are made on the fly by openssl. Kafka is fetched once by Maven, as for `make faults`: where Java, Maven or
openssl is missing, the tests are skipped and say so. Valkey's wheel is built without TLS ("Missing implement of
connection type tls", 9.1.2), so a terminator stands before it, as stunnel would.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from bench.faults.servers import KAFKA, Server, jars
from streams.embedded import find_servers, free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

ROOT: Final = Path(__file__).parent.parent
ACLS: Final = ROOT / "deploy" / "acl"
USERS: Final = (
    "admin", "qingliu-game", "qingliu-worker", "qingliu-gm", "qingliu-auditor", "qingliu-monitor",
    "qingliu-observer", "qingliu-rules",
)  # fmt: skip
_CLUSTER: Final = "cWluZ2xpdS1ndWFyZGVkMQ"  # 16 bytes in base 64, as Kafka wants it
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
inter.broker.listener.name=SASL_SSL
controller.listener.names=CONTROLLER
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required username="admin" password="{password}";
ssl.keystore.type=PEM
ssl.keystore.location={home}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={home}/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:ANONYMOUS
log.dirs={home}/log
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""
_TOOLS: Final = f"org.apache.kafka:kafka-tools:{KAFKA}"


class Broker(NamedTuple):
    """A broker with TLS, SCRAM-SHA-512 and an authorizer. `home` holds ca.pem, and stranger.pem of another CA."""

    server: Server
    home: Path
    classes: str

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def env(self, user: str) -> dict[str, str]:
        """Return the settings with which `user` comes to it."""
        return {
            "QINGLIU_KAFKA": f"kafka://{self.address}",
            "QINGLIU_KAFKA_TLS__ON": "true",
            "QINGLIU_KAFKA_TLS__CA": str(self.home / "ca.pem"),
            "QINGLIU_KAFKA_SASL__MECHANISM": "SCRAM-SHA-512",
            "QINGLIU_KAFKA_SASL__USERNAME": user,
            "QINGLIU_KAFKA_SASL__PASSWORD": password(user),
        }

    def grant(self) -> None:
        """Run deploy/acl/kafka-acls.sh with Kafka's own tool."""
        tools = self.home / "bin"
        tools.mkdir()
        tool = tools / "kafka-acls.sh"
        light = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
        tool.write_text(f'#!/bin/sh\nexec java {light} -cp "{self.classes}" org.apache.kafka.tools.AclCommand "$@"\n')
        tool.chmod(0o755)
        login = self.home / "admin.properties"
        login.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\n"
            f"ssl.truststore.location={self.home}/ca.pem\nsasl.jaas.config=org.apache.kafka.common.security.scram."
            f'ScramLoginModule required username="admin" password="{password("admin")}";\n'
        )
        env = {"PATH": f"{tools}:{os.environ['PATH']}", "BOOTSTRAP": self.address, "COMMAND_CONFIG": str(login)}
        subprocess.run([ACLS / "kafka-acls.sh"], env=env, check=True, capture_output=True)


def password(user: str) -> str:
    """Return the password of a user: what must be seen nowhere."""
    return f"hunter2-{user}"


def certificates(home: Path) -> None:
    """Make ca.pem, server.pem (key and certificate for 127.0.0.1), and stranger.pem, a CA that signed nothing."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine: no certificates, no TLS")
    for name in ("ca", "stranger"):
        _openssl(home, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")  # fmt: skip
    _openssl(home, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
             "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "server.key", "-out", "server.crt")  # fmt: skip
    (home / "server.pem").write_text((home / "server.key").read_text() + (home / "server.crt").read_text())


def _openssl(home: Path, *arguments: str) -> None:
    program = shutil.which("openssl") or "openssl"
    subprocess.run([program, *arguments], cwd=home, check=True, capture_output=True)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def classes() -> str:
    """Return the class path of Kafka and its tools, fetched if need be; skips the test where that cannot be done."""
    found = jars(_say)
    if found is None:
        pytest.skip("no Java or Maven on this machine: no Apache Kafka to test logins on")
    tools = found.with_name(f"kafka-tools-{KAFKA}")
    if not list(tools.glob("*.jar")):
        command = ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_TOOLS}", f"-DoutputDirectory={tools}"]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("Maven cannot fetch Kafka's tools")
    return f"{found}/*:{tools}/*"


async def kafka(home: Path) -> Broker:
    """Start the broker, with a user for each role."""
    certificates(home)
    java, path = shutil.which("java") or "java", classes()
    (port, controller), settings = free_ports(), home / "server.properties"
    settings.write_text(
        _PROPERTIES.format(port=port, controller=controller, home=home, password=password("admin")), "utf-8"
    )
    scram = [f"SCRAM-SHA-512=[name={user},password={password(user)}]" for user in USERS]
    added = [word for one in scram for word in ("--add-scram", one)]
    tool = [java, "-cp", path, "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", str(settings), *added]
    await asyncio.to_thread(subprocess.run, tool, check=True, capture_output=True)
    light = [java, "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", path]
    server = Server([*light, "kafka.Kafka", str(settings)], port, home / "broker.log")
    try:
        await server.listening()
    except BaseException:
        server.end()
        raise
    return Broker(server, home, path)


# --- the store


def valkey(home: Path) -> Server:
    """Start a store that knows the users of deploy/acl/users.acl, and its admin."""
    users = store_users(home)
    port, _ = free_ports()
    command = [find_servers()[1], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(home), "--save", ""]
    return Server([*command, "--aclfile", str(users)], port, home / "store.log")


def store_users(home: Path) -> Path:
    """Write the file of users, each with a password, and return where it is."""
    users = [line.replace("CHANGE-ME", password(line.split()[1])) for line in _acl_lines()]
    (home / "users.acl").write_text("\n".join([*users, f"user admin on >{password('admin')} ~* &* +@all"]) + "\n")
    return home / "users.acl"


def _acl_lines() -> Iterable[str]:
    return (line for line in (ACLS / "users.acl").read_text("utf-8").splitlines() if line.startswith("user"))


@asynccontextmanager
async def with_tls(home: Path, port: int) -> AsyncIterator[int]:
    """Speak TLS with the certificate in `home` and pass everything on to `port`, as stunnel does; give our port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "server.pem")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pump(reader, back), _pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        sink.write(data)
        await sink.drain()
    sink.close()


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which nothing of ours is set but `env`; people are spoken to in English."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("QINGLIU_")}
    return {**inherited, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT), **env}
