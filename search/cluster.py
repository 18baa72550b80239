"""The nodes of a cluster, as far as placing stages needs them: which may run what, and which is the device's machine.

One device measures at a time, even if several nodes offer it: two processors of one name still differ, and figures that
are compared come from one machine. When that machine leaves, another of the same kind takes its place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from litefront.objectives.devices import DeviceFacts
from litefront.search.stage_calls import StageCall
from litefront.search.workers import Place
from litefront.spaces.errors import CandidateError, InputError

__all__ = ["Cluster", "Node", "NodeSurvey"]

_log = logging.getLogger(__name__)

# What the answers of a model depend on; the number of cores changes nothing but the time that they take.
_DECIDES_ANSWERS = ("kind", "processor", "machine", "runtime", "runner", "implementation")
_INFERENCE = frozenset({"reference", "screening", "accuracy"})


@dataclass(frozen=True)
class NodeSurvey:
    """What a node says of itself.

    Attributes:
        machine: Identity of the running kernel: nodes and containers on one machine have the same, and share its cores.
        shares_store: Whether it sees the folder of the artifact store.
        facts: What it is as a device; None if LiteRT does not run there.
        runner: Digest of the program that runs candidates there.
        problem: Why LiteRT does not run there.
        oom_kills: Processes that the kernel has killed there for want of memory.
    """

    machine: str
    shares_store: bool
    facts: DeviceFacts | None
    runner: str
    problem: str
    oom_kills: int

    @property
    def identity(self) -> dict[str, Any]:
        """What the figures of stages that run there depend on, named as in their calls; empty without LiteRT."""
        return {} if self.facts is None else self.facts.identity() | {"runner": self.runner}


@dataclass(eq=False)
class Node:
    """A node that stages may run on.

    Attributes:
        id: Ray's name of it, never used for another.
        address: Its address.
        cpus: Its cores, as the cluster counts them.
        slots: How many of them the study uses: stages that may run beside each other there.
        offers_device: Whether it advertises the device.
        survey: What it says of itself.
        builds: Stages that build there now.
    """

    id: str
    address: str
    cpus: int
    slots: int
    offers_device: bool
    survey: NodeSurvey
    builds: int = 0


@dataclass
class Cluster:
    """The nodes that are there now.

    Attributes:
        device: The device's name, as nodes advertise it.
        drivers_machine: The machine of the process that runs the study, which has the user's files.
        node_wait_s: How long a stage waits for a node that it can run on.
        nodes: The nodes by their ids.
        refused: Why other nodes cannot take part, by address.
    """

    device: str
    drivers_machine: str
    node_wait_s: float
    nodes: dict[str, Node] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _measuring: Node | None = None
    _identity: dict[str, Any] = field(default_factory=dict)
    _missing_since: dict[str, float] = field(default_factory=dict)

    @property
    def slots(self) -> int:
        """Stages that may run beside each other."""
        return sum(node.slots for node in self.nodes.values())

    def add(self, node: Node) -> None:
        """Takes a node in; the first that offers the device and runs LiteRT measures."""
        self.nodes[node.id] = node
        _log.info("%s joined with %d slots%s.", node.address, node.slots, " and the device" * node.offers_device)
        self._choose_measuring()
        if node.offers_device and self._identity not in ({}, node.survey.identity):
            _log.warning("%s offers %s, but does not measure: %s.", node.address, self.device, self._other_device(node))

    def remove(self, node_id: str) -> None:
        """Forgets a node that has left; another of the same kind measures in its place."""
        node = self.nodes.pop(node_id, None)
        if node is not None and node is self._measuring:
            self._measuring = None
            self._choose_measuring()
            if self._measuring is None:
                _log.warning("%s has left, and no other node like it offers %s.", node.address, self.device)

    def probe(self) -> DeviceFacts:
        """What the device is.

        Raises:
            InputError: If LiteRT does not run on any node that offers it.
        """
        if self._measuring is None or self._measuring.survey.facts is None:
            problems = {node.address: node.survey.problem for node in self.nodes.values() if node.offers_device}
            reasons = [f"{address}: {problem}" for address, problem in (problems | self.refused).items()]
            raise InputError(f"LiteRT must run where {self.device} is, but {'; '.join(reasons) or 'its node left'}.")
        return self._measuring.survey.facts

    def places(self, call: StageCall) -> frozenset[Place]:
        """Where the stage could start now; a measurement stands in line behind others.

        Raises:
            CandidateError: If the device is another than the study's, or if no node can run the stage and none that
                could has joined for `node_wait_s`.
        """
        fitting = [node for node in self.nodes.values() if self._fits(call, node)]
        if not fitting:
            self._wait_for_a_node(call)
        else:
            self._missing_since.pop(call.stage, None)
        return frozenset(self._place_of(node) for node in fitting if _is_free(call, node))

    def choose(self, call: StageCall, place: Place) -> Node:
        """The free node of a place that has the most slots left; the place is one of `places`."""
        nodes = [node for node in self.nodes.values() if self._place_of(node) is place and self._fits(call, node)]
        return max((node for node in nodes if _is_free(call, node)), key=lambda node: node.slots - node.builds)

    def _choose_measuring(self) -> None:
        able = (node for node in self.nodes.values() if node.offers_device and node.survey.facts is not None)
        if self._measuring is None:
            self._measuring = next((node for node in able if self._identity in ({}, node.survey.identity)), None)
        if self._measuring is not None:
            self._identity = self._measuring.survey.identity

    def _place_of(self, node: Node) -> Place:
        at_device = self._measuring is not None and node.survey.machine == self._measuring.survey.machine
        return Place.DEVICE if at_device else Place.ELSEWHERE

    def _fits(self, call: StageCall, node: Node) -> bool:
        if call.leases_device:
            return node is self._measuring and _is_as_asked(call, node, (*node.survey.identity, "implementation"))
        if call.stage in _INFERENCE:
            return node.survey.facts is not None and _is_as_asked(call, node, _DECIDES_ANSWERS)
        return call.stage != "base" or self._file_access(node) == max(map(self._file_access, self.nodes.values()))

    def _file_access(self, node: Node) -> int:
        """How likely a node has the files that the user's `model` reads: on the driver's machine it has them."""
        return 2 if node.survey.machine == self.drivers_machine else int(node.survey.shares_store)

    def _wait_for_a_node(self, call: StageCall) -> None:
        needs_device = call.leases_device or call.stage in _INFERENCE
        if needs_device and self._measuring is not None:
            asked, found = _described(call.depends_on), _described(self._measuring.survey.identity)
            raise CandidateError(f"{call.stage}: the study's device is {asked}, but {self.device} is {found} now")
        lack = f"no node like the study's device offers {self.device}" if needs_device else "the cluster has no node"
        if call.stage not in self._missing_since:
            _log.warning("%s: %s; waiting up to %g s for one to join.", call.stage, lack, self.node_wait_s)
        since = self._missing_since.setdefault(call.stage, time.monotonic())
        if time.monotonic() - since > self.node_wait_s:
            others = [self._other_device(node) for node in self.nodes.values() if needs_device and node.offers_device]
            reason = "; ".join([lack, *others])
            raise CandidateError(f"{call.stage}: {reason}; none joined within {self.node_wait_s:g} s")

    def _other_device(self, node: Node) -> str:
        """What sets a node's device apart from the one that measured first."""
        if node.survey.facts is None:
            return node.survey.problem
        return f"the study's device is {_described(self._identity)}, this one is {_described(node.survey.identity)}"


def _is_free(call: StageCall, node: Node) -> bool:
    return call.leases_device or node.builds < node.slots


def _is_as_asked(call: StageCall, node: Node, names: Iterable[str]) -> bool:
    identity = node.survey.identity | {"implementation": _implementation(call, node)}
    return all(call.depends_on[name] == identity.get(name) for name in names if name in call.depends_on)


def _implementation(call: StageCall, node: Node) -> str | None:
    """What a stage's delegate is on a node; None if it cannot be used there."""
    found = node.survey.facts.delegates.get(call.params.get("delegate", "")) if node.survey.facts else None
    return found.implementation if found is not None and found.refusal is None else None


def _described(identity: Mapping[str, Any]) -> str:
    """A device in a user's words."""
    processor, machine, cores, runtime = (identity.get(name) for name in ("processor", "machine", "cores", "runtime"))
    return f"{processor} ({machine}, {cores} cores, {runtime}, runner {str(identity.get('runner'))[:8]})"
