"""Which node of a cluster runs what, on made-up nodes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from litefront.objectives.devices import DeviceFacts
from litefront.search.cluster import Cluster, Node, NodeSurvey
from litefront.search.stage_calls import StageCall
from litefront.search.workers import Place
from litefront.spaces.errors import CandidateError, InputError

BOARD = DeviceFacts("host", "Cortex-A72", "aarch64", 4, "LiteRT 2")
SERVER = DeviceFacts("host", "EPYC", "x86_64", 64, "LiteRT 2")

BUILD = StageCall("float_tflite")
BASE = StageCall("base")
LATENCY = StageCall("latency", depends_on=BOARD.identity() | {"runner": "r1"}, leases_device=True)
ACCURACY = StageCall("accuracy", depends_on=BOARD.identity() | {"runner": "r1", "metric": "top1"})


def node(name: str, facts: DeviceFacts | None = BOARD, *, device: bool = False, **survey: Any) -> Node:
    found = NodeSurvey(name, False, facts, "r1", "" if facts else "LiteRT is not installed", 0)
    return Node(name, f"{name}.lan", 4, 2, device, replace(found, **survey))


def cluster(*nodes: Node) -> Cluster:
    made = Cluster("device:board", "desk", node_wait_s=600.0)
    for each in nodes:
        made.add(each)
    return made


def test_a_measurement_goes_to_the_devices_node_and_builds_go_everywhere() -> None:
    found = cluster(node("server", SERVER), node("board", device=True))
    assert found.places(LATENCY) == {Place.DEVICE}
    assert found.choose(LATENCY, Place.DEVICE).id == "board"
    assert found.places(BUILD) == {Place.DEVICE, Place.ELSEWHERE}
    assert found.choose(BUILD, Place.ELSEWHERE).id == "server"
    assert found.probe() == BOARD
    assert found.slots == 4


def test_nodes_on_one_machine_share_its_cores_whatever_their_names() -> None:
    found = cluster(node("board", device=True), node("container", machine="board"))
    assert found.places(BUILD) == {Place.DEVICE}


def test_a_node_with_as_many_builds_as_slots_is_no_place() -> None:
    server = node("server", SERVER)
    found = cluster(node("board", device=True), server)
    server.builds = 2
    assert found.places(BUILD) == {Place.DEVICE}


def test_the_free_node_with_the_most_slots_left_is_chosen() -> None:
    busy, idle = node("busy", SERVER), node("idle", SERVER)
    busy.builds = 1
    found = cluster(node("board", device=True), busy, idle)
    assert found.choose(BUILD, Place.ELSEWHERE) is idle


@pytest.mark.parametrize("stage", ["reference", "screening", "accuracy"])
def test_answers_are_taken_on_processors_like_the_devices_alone(stage: str) -> None:
    call, many_cores = replace(ACCURACY, stage=stage), replace(BOARD, cores=16)
    assert cluster(node("board", device=True), node("server", SERVER)).places(call) == {Place.DEVICE}
    assert Place.ELSEWHERE in cluster(node("board", device=True), node("twin", many_cores)).places(call)
    other_runner = node("old", runner="r0")
    assert cluster(node("board", device=True), other_runner).places(call) == {Place.DEVICE}


def test_the_base_model_is_built_where_the_users_files_are() -> None:
    desk, shares, far = node("desk", SERVER), node("shares", shares_store=True), node("far")
    board = node("board", device=True)
    assert cluster(board, far, shares, desk).choose(BASE, Place.ELSEWHERE) is desk
    assert cluster(board, far, shares).choose(BASE, Place.ELSEWHERE) is shares
    assert cluster(board, far).places(BASE) == {Place.DEVICE, Place.ELSEWHERE}


def test_another_processor_under_the_devices_name_gives_no_figure() -> None:
    found = cluster(node("server", SERVER, device=True))
    with pytest.raises(CandidateError, match=r"study's device is Cortex-A72 .* but device:board is EPYC"):
        found.places(LATENCY)


def test_a_device_node_that_leaves_is_replaced_by_one_like_it_only() -> None:
    found = cluster(node("board", device=True), node("server", SERVER, device=True))
    found.remove("board")
    assert found.places(LATENCY) == frozenset()
    found.node_wait_s = 0.0
    with pytest.raises(CandidateError, match=r"study's device is Cortex-A72 .*EPYC.* none joined within 0 s"):
        found.places(LATENCY)
    found.add(node("spare", device=True))
    assert found.choose(LATENCY, Place.DEVICE).id == "spare"


def test_a_stage_waits_for_a_node_to_join_and_builds_go_on() -> None:
    found = cluster(node("board", device=True), node("server", SERVER))
    found.remove("board")
    assert found.places(LATENCY) == found.places(ACCURACY) == frozenset()
    assert found.places(BUILD) == {Place.ELSEWHERE}


def test_a_device_without_litert_is_the_users_to_mend() -> None:
    with pytest.raises(InputError, match=r"board\.lan: LiteRT is not installed"):
        cluster(node("board", None, device=True)).probe()


def test_a_device_whose_node_could_not_answer_says_why() -> None:
    found = cluster(node("server", SERVER))
    found.refused["board.lan"] = "ModuleNotFoundError: litefront"
    with pytest.raises(InputError, match=r"board\.lan: ModuleNotFoundError: litefront"):
        found.probe()
