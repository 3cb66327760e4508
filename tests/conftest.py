"""Servers for the tests that need them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from streams.embedded import Embedded
from tests.valkey_cluster import Cluster, a_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator


# A test that asserts a time fails on a busy machine: no deadline for an example, and none for making one.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """The embedded broker and store, one pair for the whole run: name topics, groups and keys after your test."""
    with asyncio.Runner() as runner:
        pair = Embedded()
        runner.run(pair.__aenter__())
        yield pair
        runner.run(pair.__aexit__())


@pytest.fixture(scope="session")
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Redis Cluster of three nodes, one for the whole run: name keys after your test."""
    with a_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made
