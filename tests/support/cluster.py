"""A private cluster of RabbitMQ nodes, of which any may be killed, frozen or cut off."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from tests.support.ports import free_ports
from tests.support.processes import tail
from tests.support.rabbitmq import DEFAULT_VHOST, USER, RabbitmqNode
from tests.support.releases import Release
from tests.support.waiting import wait_until

SIZE = 3
CLUSTER_TIMEOUT_SECONDS = 120.0
#: As the documentation tells those who run a cluster. 4.3 has no other way and ignores it.
CONFIGURATION = {"cluster_partition_handling": "pause_minority"}
# So soon, more or less, the others notice a node that is frozen. By default after a minute.
NET_TICK_SECONDS = 8
# How long nodes that reach each other again may take to agree by themselves.
AGREE_SECONDS = 8.0
# Nodes wait up to five minutes for each other.
START_TIMEOUT_SECONDS = 300.0
MAX_STARTS = 3


class RabbitmqCluster:
    """Three nodes on this machine that share a cookie and a port mapper.

    Partitions are made by the nodes refusing each other's cookie, which takes no root. To be
    started from a thread that lives on, as a node.
    """

    def __init__(self, release: Release, size: int = SIZE) -> None:
        self.release = release
        self._cookie = secrets.token_hex(16)
        (self._epmd_port,) = free_ports(1)
        first = self._node({})
        seed = {"cluster_formation.classic_config.nodes.1": first.name}
        self.nodes = [first, *(self._node(seed) for _ in range(size - 1))]

    def _node(self, config: Mapping[str, str]) -> RabbitmqNode:
        return RabbitmqNode(
            self.release,
            {**CONFIGURATION, **config},
            cookie=self._cookie,
            epmd_port=self._epmd_port,
            erlang_arguments=f"-kernel net_ticktime {NET_TICK_SECONDS}",
        )

    # Where it is

    def urls(self, vhost: str = DEFAULT_VHOST) -> list[str]:
        """The URL of each node."""
        return [node.url_of(vhost) for node in self.nodes]

    def others(self, *nodes: RabbitmqNode) -> list[RabbitmqNode]:
        """All nodes but these."""
        return [node for node in self.nodes if node not in nodes]

    def node_named(self, name: str) -> RabbitmqNode:
        return next(node for node in self.nodes if node.name == name)

    # Its life

    def start(self) -> None:
        """Start the nodes that do not run, and return when all have found each other.

        Those that ran before come up together: one alone may wait for the last that ended.
        """
        if not any(node.was_started for node in self.nodes):
            self.nodes[0].start()
        starts: Counter[str] = Counter()
        wait_until(lambda: self._answers(starts), START_TIMEOUT_SECONDS, self.story)
        self.wait_until_whole()

    def _answers(self, starts: Counter[str]) -> bool:
        """Whether all nodes do; starts anew those that do not run, or gave up, as a service would.

        4.0 does if another one starts at the same moment ("node_not_running").
        """
        for node in self.nodes:
            if node.has_given_up():
                node.kill()
            if not node.is_running:
                starts[node.name] += 1
                assert starts[node.name] <= MAX_STARTS, self.story()
                node.begin_to_start()
        return all(node.answers() for node in self.nodes)

    def wait_until_whole(self, timeout_seconds: float = CLUSTER_TIMEOUT_SECONDS) -> None:
        wait_until(self.is_whole, timeout_seconds, self.story)

    def heal_after_freezing(self, node: RabbitmqNode) -> None:
        """Make the cluster whole again after `node` was frozen for longer than the others wait.

        Before 4.3 such a node may go on as if nothing had happened, and the others without it,
        which `pause_minority` does not notice: it has to be restarted.
        """
        try:
            self.wait_until_whole(AGREE_SECONDS)
        except AssertionError:
            node.restart()
            self.wait_until_whole()

    def is_whole(self) -> bool:
        """Whether every node says that all of them run."""
        names = {node.name for node in self.nodes}
        return all(self.running_seen_by(node) == names for node in self.nodes)

    def running_seen_by(self, node: RabbitmqNode) -> set[str]:
        """The names of the nodes that run, as `node` sees it; none if it does not answer."""
        try:
            rows = node.management.get("nodes")
        except OSError:
            return set()
        return {row["name"] for row in rows if row.get("running") and not row.get("partitions")}

    @contextmanager
    def cut_off(self, node: RabbitmqNode) -> Iterator[None]:
        """Have `node` and the others not reach each other for a while; all keep their clients."""
        others = self.others(node)
        try:
            # Of this one alone, and at once: a node that misses only some takes that for worse.
            node.rabbitmqctl("eval", _cut_off(others))
            yield
        finally:
            node.rabbitmqctl("eval", _let_in(others, self._cookie))

    def close(self) -> None:
        """End all nodes for good and remove their data. May be called twice."""
        with ExitStack() as closed:
            for node in self.nodes:
                closed.callback(node.close)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What is in it

    def new_vhost(self) -> list[str]:
        """Make a vhost, and return its URLs once it is on all nodes."""
        # By the command, which has more patience than the management API: on a busy machine it
        # takes a cluster seconds, and to delete one with its queues still more.
        name = f"test-{secrets.token_hex(6)}"
        self.nodes[0].rabbitmqctl("add_vhost", name)
        self.nodes[0].rabbitmqctl("set_permissions", "-p", name, USER, ".*", ".*", ".*")
        wait_until(lambda: self._is_everywhere(name), CLUSTER_TIMEOUT_SECONDS, self.story)
        return self.urls(name)

    def delete_vhost(self, vhost: str) -> None:
        self.nodes[0].rabbitmqctl("delete_vhost", vhost)

    def sync_new_queues(self) -> None:
        """See `RabbitmqNode.sync_new_queues`."""
        for node in self.nodes:
            node.sync_new_queues()

    def _is_everywhere(self, vhost: str) -> bool:
        states = self.nodes[0].management.get("vhosts", vhost).get("cluster_state", {})
        return [*states.values()] == ["running"] * len(self.nodes)

    def leader_of(self, vhost: str, queue: str) -> RabbitmqNode:
        """The node on which the quorum queue's leader is."""
        row = self._asked().queue(vhost, queue)
        assert row is not None, f"There is no queue {queue}."
        return self.node_named(row["leader"])

    def members_of(self, vhost: str, queue: str) -> list[str]:
        """The names of the nodes that hold the quorum queue."""
        row = self._asked().queue(vhost, queue)
        return sorted(row["members"]) if row is not None else []

    def _asked(self) -> RabbitmqNode:
        """A node that answers."""
        return next(node for node in self.nodes if node.management.answers())

    def story(self) -> str:
        """What somebody wants to know if it fails."""
        seen = [f"{node.name} sees {sorted(self.running_seen_by(node))}" for node in self.nodes]
        started = [node for node in self.nodes if node.log_path.exists()]
        logs = [line for node in started for line in tail(node.log_path)]
        return "\n".join([f"RabbitMQ {self.release.label}:", *seen, *logs])


def _cut_off(nodes: Sequence[RabbitmqNode]) -> str:
    return _for_each("erlang:set_cookie(N, wrong), erlang:disconnect_node(N)", nodes)


def _let_in(nodes: Sequence[RabbitmqNode], cookie: str) -> str:
    return _for_each(f"erlang:set_cookie(N, '{cookie}'), net_kernel:connect_node(N)", nodes)


def _for_each(work: str, nodes: Sequence[RabbitmqNode]) -> str:
    names = ",".join(f"'{node.name}'" for node in nodes)
    return f"[begin {work} end || N <- [{names}]]."
