"""What `qingliu doctor` looks at: machine, broker, topics, store, rules, clock; each with the line that mends it."""

from __future__ import annotations

import asyncio
import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal

from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct
from redis.exceptions import RedisError

from console import Unreachable
from console.broker import PATIENCE_MS, client, reached
from console.words import say
from moderation.errors import RuleSetRejected, SettingsError
from moderation.moderator import Moderator
from streams.canary import message
from streams.cluster import connect
from streams.embedded import find_servers
from streams.lag import BrokerAway, GroupLag
from streams.rules import load_rules
from streams.store import meaning
from streams.topics import plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from moderation.ruleset import RuleSet
    from streams.settings import Settings

Status = Literal["OK", "WARN", "FAIL"]
#: The oldest store whose commands our scripts use, as redis_version says it (Valkey 8 says 7.2).
OLDEST_STORE: Final = (7, 0)
_STORE_S: Final = 2.0
#: Milliseconds. Beyond the first, people notice when sanctions end; beyond the second, actions are void or too long.
SKEW_WARN_MS: Final = 1_000
SKEW_FAIL_MS: Final = 30_000


class Check(Struct, frozen=True, omit_defaults=True):
    """One thing looked at. `mend` is what to do; `unreachable`: it failed because something did not answer."""

    name: str
    status: Status
    says: str
    mend: str = ""
    unreachable: bool = False


async def examine(settings: Settings) -> list[Check]:
    """Look at everything, in the order in which one would mend it. Changes nothing."""
    checks = [_python(), _faust(), *_fast(), *await asyncio.to_thread(lambda: list(_rules(settings)))]
    if settings.kafka is None or settings.redis is None:
        checks.append(_embedded(settings))
    if settings.kafka:
        checks += [check async for check in _broker(settings)]
    if settings.redis:
        checks += [check async for check in _store(settings.redis.get_secret_value())]
    return checks


# --- this machine


def _python() -> Check:
    return Check("python", "OK", ".".join(map(str, sys.version_info[:3])))  # an older one could not import us


def _faust() -> Check:
    """Faust's stream in pure Python acknowledges messages that it skips after a rebalance: they would be lost."""
    from faust import streams  # noqa: PLC0415  it takes half a second, which a broken setting need not wait for

    if getattr(streams, "_CStreamIterator", None) is not None:
        return Check("faust", "OK", say("编译版的流", "compiled stream"))
    mend = say(
        "取消 NO_CYTHON，并在有 faust-streaming 轮子的平台上安装", "unset NO_CYTHON; use a platform with a wheel"
    )
    return Check("faust", "FAIL", say("没有编译版的流，再平衡时会丢消息", "no compiled stream: loses messages"), mend)


def _fast() -> Iterator[Check]:
    missing = [name for name in ("daachorse", "rjieba") if find_spec(name) is None]
    if missing:
        slow = say(f"没有 {'、'.join(missing)}：结果相同，但慢", f"no {', '.join(missing)}: same results, slower")
        yield Check("fast", "WARN", slow, "pip install 'qingliu[fast]'")


def _rules(settings: Settings) -> Iterator[Check]:
    try:
        rules = load_rules(settings.rules)
    except RuleSetRejected as exc:
        more = len(exc.problems) - 1
        says = f"{exc.problems[0]}" + (say(f"（另有 {more} 处）", f" (and {more} more)") if more else "")
        yield Check("rules", "FAIL", says, say("按提示改规则文件", "mend the rule files as they say"))
        return
    where = "、".join(map(str, settings.rules))
    count = say(f"{len(rules.rules)} 条规则", f"{len(rules.rules)} rules")
    yield Check("rules", "OK", f"{count} {rules.hash} ({where})")
    yield _canary(rules, settings.canary_text)


def _canary(rules: RuleSet, text: str) -> Check:
    """Without a rule that acts on it, `qingliu observe` would say that nothing works."""
    [finding] = Moderator(rules).judge([message("doctor", time.time_ns() // 1_000_000, text)])
    if finding.verdict == "act":
        return Check("canary", "OK", f"{text} → {finding.label}")
    says = say(f"规则不处罚金丝雀消息：{text}", f"the rules do not act on the canary: {text}")
    mend = say("换成规则会处罚的话：QINGLIU_CANARY_TEXT", "set QINGLIU_CANARY_TEXT to what they act on")
    return Check("canary", "WARN", says, mend)


def _embedded(settings: Settings) -> Check:
    unset = [
        name for name, value in (("QINGLIU_KAFKA", settings.kafka), ("QINGLIU_REDIS", settings.redis)) if not value
    ]
    try:
        find_servers()
    except SettingsError as exc:
        return Check(
            "embedded",
            "FAIL",
            str(exc),
            f"pip install 'qingliu[embedded]', {say('或设置', 'or set')} {' '.join(unset)}",
        )
    says = say(
        f"没有设置 {'、'.join(unset)}，用内嵌的，重启即失", f"{', '.join(unset)} not set: embedded, nothing survives"
    )
    return Check("embedded", "WARN", says, say("生产环境请设置", "in production set") + f" {' '.join(unset)}")


# --- the broker


async def _broker(settings: Settings) -> AsyncIterator[Check]:
    try:
        admin = AIOKafkaAdminClient(**client(settings), request_timeout_ms=PATIENCE_MS)
        async with reached(settings, admin):
            found = await admin.describe_topics()
            yield Check("broker", "OK", settings.kafka or "")
            yield _topics(settings, {topic["topic"]: len(topic["partitions"]) for topic in found})
            yield await _lag(settings)
    except SettingsError as exc:
        yield Check("broker", "FAIL", str(exc))
    except Unreachable as exc:
        yield Check("broker", "FAIL", str(exc), unreachable=True)


def _topics(settings: Settings, partitions: dict[str, int]) -> Check:
    missing = [topic.name for topic in plan(settings) if topic.name not in partitions]
    if missing:
        mend = "qingliu topics create" + say("；或者这个用户无权看到它们", ", or this user may not see them")
        return Check("topics", "FAIL", say("缺少 ", "missing: ") + " ".join(missing), mend)
    world, private = partitions[settings.topics.world], partitions[settings.topics.private]
    if world != private:
        names = f"{settings.topics.world} {world}, {settings.topics.private} {private}"
        fewer = settings.topics.world if world < private else settings.topics.private
        mend = f"kafka-topics.sh --alter --topic {fewer} --partitions {max(world, private)}"
        return Check(
            "topics", "FAIL", say("两个聊天主题的分区数不同：", "chat topics differ in partitions: ") + names, mend
        )
    return Check("topics", "OK", say(f"{world} 个分区", f"{world} partitions"))


async def _lag(settings: Settings) -> Check:
    lag = GroupLag(settings, settings.kafka or "")
    try:
        positions = await lag.positions(await lag.partitions((settings.topics.world, settings.topics.private)))
    except BrokerAway as exc:
        return Check("lag", "FAIL", str(exc), say("看消费组的权限", "may we read the group?"), unreachable=True)
    finally:
        await lag.close()
    behind = sum(at.lag for at in positions.values())
    return Check("lag", "OK", say(f"积压 {behind} 条", f"{behind} records behind"))


# --- the store


async def _store(url: str) -> AsyncIterator[Check]:
    store = connect(url, _STORE_S)
    try:
        about: dict[str, Any] = await store.info()
        yield _version(about)
        yield _durable(about)
        yield _bounded(about)
        before = time.time_ns()
        seconds, micros = await store.time()
        yield _clock((seconds * 1_000_000 + micros) / 1000, (before + time.time_ns()) / 2e6)
    except (RedisError, OSError) as exc:
        yield Check("store", "FAIL", meaning(exc), unreachable=True)
    finally:
        await store.aclose()


def _version(about: dict[str, Any]) -> Check:
    name = "Valkey" if "valkey_version" in about else "Redis"
    says = f"{name} {about.get('valkey_version', about['redis_version'])}"
    if tuple(map(int, str(about["redis_version"]).split(".")[:2])) >= OLDEST_STORE:
        return Check("store", "OK", says)
    return Check("store", "FAIL", says, say("升级到 Redis 7 或 Valkey 8", "upgrade to Redis 7 or Valkey 8"))


def _durable(about: dict[str, Any]) -> Check:
    if about.get("aof_enabled"):
        return Check("durability", "OK", "AOF")
    says = say(
        "没有开 AOF，Redis 重启会忘掉最近的违规和处罚", "AOF is off: a restart forgets recent strikes and sanctions"
    )
    return Check("durability", "WARN", says, "redis-cli CONFIG SET appendonly yes")


def _bounded(about: dict[str, Any]) -> Check:
    """Every key of ours expires; a store that is full should drop what would expire first, not refuse to write."""
    most, policy = int(about.get("maxmemory", 0)), str(about.get("maxmemory_policy", ""))
    if most and policy.startswith(("volatile", "allkeys")):
        return Check("memory", "OK", f"{most >> 20} MiB, {policy}")
    says = say("Redis 内存没有上限，或满了就拒写", "the store's memory has no bound, or it refuses to write when full")
    return Check("memory", "WARN", says, "redis-cli CONFIG SET maxmemory 4gb; CONFIG SET maxmemory-policy volatile-ttl")


def _clock(theirs_ms: float, ours_ms: float) -> Check:
    skew = ours_ms - theirs_ms
    says = say(f"与 Redis 相差 {skew:+.0f} 毫秒", f"{skew:+.0f} ms against the store")
    if abs(skew) <= SKEW_WARN_MS:
        return Check("clock", "OK", says)
    status: Status = "WARN" if abs(skew) <= SKEW_FAIL_MS else "FAIL"
    return Check(
        "clock", status, says, say("两边都用 NTP 对时", "synchronise both by NTP") + ": timedatectl set-ntp true"
    )
