"""The scheduler on scripted workers, at the interface that the project ships for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from litefront.objectives.devices import DeviceFacts
from litefront.search.cell_record import CellRecord, CellState
from litefront.search.ledger import Ledger, totals_by_stage
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.scheduler import Plan, Scheduler
from litefront.search.stage_calls import StageCall
from litefront.search.stage_run import StageDone
from litefront.search.store import ArtifactStore, StageRecord
from litefront.search.study_results import StageEntry
from litefront.search.workers import Place
from litefront.spaces.errors import CandidateError, InputError
from tests.search.records import make_record


class ScriptedWorkers:
    """Ends each stage when it is waited for; notes what ran beside what. Measurements stand in line for the device."""

    def __init__(self, store: ArtifactStore, slots: int, elsewhere: int, failures: dict[str, Exception]) -> None:
        self.slots = slots + elsewhere
        self.seconds = {"pruned": 60.0}
        self.losses: dict[str, int] = {}
        self.never_begun: set[str] = set()
        self.started: list[str] = []
        self.beside: list[set[str]] = []
        self.beside_at_device: list[set[str]] = []
        self._store = store
        self._room = {Place.DEVICE: slots, Place.ELSEWHERE: elsewhere}
        self._failures = failures
        self._running: dict[str, tuple[StageCall, Place]] = {}
        self._line: list[StageCall] = []
        self._held: list[StageDone] = []

    def probe(self) -> DeviceFacts:
        raise NotImplementedError

    def places(self, call: StageCall) -> frozenset[Place]:
        if isinstance(refusal := self._failures.get(f"no place for {name_of(call)}"), CandidateError):
            raise refusal
        if call.leases_device:
            return frozenset({Place.DEVICE})
        taken = [place for _, place in self._running.values()]
        return frozenset(place for place, room in self._room.items() if taken.count(place) < room)

    def start(self, call: StageCall, place: Place) -> None:
        self.started.append(name_of(call))
        if call.leases_device and self._measures():
            self._line.append(call)
        else:
            self._begin(call, place)

    def _begin(self, call: StageCall, place: Place) -> None:
        self._running[name_of(call)] = (call, place)
        self.beside.append(set(self._running))
        at_device = {name for name, (_, where) in self._running.items() if where is Place.DEVICE}
        self.beside_at_device.append(at_device)

    def wait(self, timeout_s: float) -> list[StageDone]:
        while self._running:
            shortest = min(self._running, key=lambda name: self._seconds(self._running[name][0]))
            call, place = self._running.pop(shortest)
            if not call.leases_device:
                return [self._done(call)]
            self._held.append(self._done(call))
            if self._line:
                self._begin(self._line.pop(0), place)
            else:
                ended, self._held = self._held, []
                return ended
        return []

    def recall(self) -> list[StageCall]:
        recalled, self._line = self._line, []
        return recalled

    def _measures(self) -> bool:
        return any(call.leases_device for call, _ in self._running.values())

    def _done(self, call: StageCall) -> StageDone:
        if self.losses.get(name_of(call), 0):
            self.losses[name_of(call)] -= 1
            return StageDone(call, lost="the node died", began=name_of(call) not in self.never_begun)
        failure = self._failures.get(name_of(call))
        if failure is not None:
            return StageDone(call, error=failure)  # type: ignore[arg-type]
        record = StageRecord(call.stage, call.key, {}, {}, self._seconds(call))
        self._store.add(record)
        return StageDone(call, record)

    def _seconds(self, call: StageCall) -> float:
        return self.seconds.get(call.stage, 2.0)

    def close(self) -> None:
        self._running.clear()


def build(name: str) -> StageCall:
    return StageCall("float_tflite", {"name": name})


def prune(name: str) -> StageCall:
    return StageCall("pruned", {"name": name})


def measure(name: str) -> StageCall:
    return StageCall("latency", {"name": name}, leases_device=True)


def name_of(call: StageCall) -> str:
    return ("measure " if call.leases_device else "") + str(call.params["name"])


def plan(cell: str, *calls: StageCall) -> Plan:
    """Asks for the calls one after the other."""
    try:
        for call in calls:
            record = yield call
            assert record.key == call.key
    except CandidateError as error:
        return make_record(cell, state=CellState.FAILED, facts={"reason": str(error)})
    return make_record(cell)


class Fixture:
    def __init__(self, folder: Path) -> None:
        self.directory = RunDirectory(folder)
        self.directory.create()
        self.store = ArtifactStore(self.directory.store)

    def scheduler(
        self,
        *,
        slots: int = 2,
        elsewhere: int = 0,
        batch: int = 3,
        shares_cores: bool = True,
        failures: dict[str, Exception] | None = None,
    ) -> tuple[Scheduler, ScriptedWorkers]:
        workers = ScriptedWorkers(self.store, slots, elsewhere, failures or {})
        ledger = Ledger(self.directory)
        return Scheduler(workers, self.store, ledger, shares_cores=shares_cores, batch=lambda: batch), workers

    def entries(self) -> list[StageEntry]:
        return [StageEntry(**line) for line in read_json_lines(self.directory.stages)]


@pytest.fixture
def run(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def collect(scheduler: Scheduler, number: int) -> list[tuple[Plan, CellRecord]]:
    finished: list[tuple[Plan, CellRecord]] = []
    while len(finished) < number:
        finished += scheduler.finished()
    return finished


def finish(scheduler: Scheduler, number: int) -> Iterator[str]:
    return (record.cell for _, record in collect(scheduler, number))


def test_a_plan_gets_its_stages_one_after_the_other(run: Fixture) -> None:
    scheduler, workers = run.scheduler()
    scheduler.add(plan("a", build("x"), build("y"), measure("z")))
    assert list(finish(scheduler, 1)) == ["a"]
    assert workers.started == ["x", "y", "measure z"]


def test_a_stage_that_two_plans_want_runs_once(run: Fixture) -> None:
    scheduler, workers = run.scheduler()
    scheduler.add(plan("a", build("shared"), build("a")))
    scheduler.add(plan("b", build("shared"), build("b")))
    assert sorted(finish(scheduler, 2)) == ["a", "b"]
    assert sorted(workers.started) == ["a", "b", "shared"]
    totals = totals_by_stage(run.entries())["float_tflite"]
    assert (totals.runs, totals.hits, totals.repeated) == (3, 1, 0)
    assert (totals.seconds_spent, totals.seconds_saved) == (6.0, 2.0)


def test_what_an_earlier_run_left_is_not_run_again(run: Fixture) -> None:
    scheduler, _ = run.scheduler()
    scheduler.add(plan("a", build("x")))
    list(finish(scheduler, 1))
    later, workers = run.scheduler()
    later.add(plan("b", build("x")))
    assert list(finish(later, 1)) == ["b"]
    assert workers.started == []


def test_no_measurement_on_shared_cores_has_anything_beside_it(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=3, batch=2)
    for name in "abcdefgh":
        scheduler.add(plan(name, build(name), build(name + name), measure(name)))
    assert sorted(finish(scheduler, 8)) == list("abcdefgh")
    measuring = [names for names in workers.beside if any(name.startswith("measure") for name in names)]
    assert len(measuring) == 8
    assert all(len(names) == 1 for names in measuring)
    assert max(len(names) for names in workers.beside) == 3


def test_measurements_on_shared_cores_are_taken_in_batches(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=1, batch=3)
    for name in "abcdef":
        scheduler.add(plan(name, build(name), measure(name)))
    list(finish(scheduler, 6))
    turns = "".join("m" if name.startswith("measure") else "b" for name in workers.started)
    assert turns == "bbbmmmbbbmmm"


def test_a_batch_is_given_to_the_workers_as_a_whole_and_told_when_its_turn_is_over(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=1, batch=3)
    for name in "abc":
        scheduler.add(plan(name, build(name), measure(name), build("after " + name)))
    for name in "def":
        scheduler.add(plan(name, measure(name)))
    while not (told := [record.cell for _, record in scheduler.finished()]):
        pass
    assert workers.started == ["measure d", "measure e", "measure f", "a"]
    assert told == ["d", "e", "f"]


def test_what_is_measured_again_comes_in_the_same_turn_and_the_others_are_not_told_before(run: Fixture) -> None:
    scheduler, workers = run.scheduler(batch=3)
    scheduler.add(plan("noisy", measure("noisy"), measure("noisy again")))
    scheduler.add(plan("a", measure("a")))
    scheduler.add(plan("b", measure("b")))
    scheduler.add(plan("later", build("later")))
    while not (told := [record.cell for _, record in scheduler.finished()]):
        pass
    assert workers.started == ["measure noisy", "measure a", "measure b", "measure noisy again", "later"]
    assert told == ["a", "b", "noisy"]


def test_a_long_turn_comes_in_several_batches_and_is_told_in_between(run: Fixture) -> None:
    scheduler, _ = run.scheduler(batch=2)
    for name in "abcde":
        scheduler.add(plan(name, measure(name)))
    told = [[record.cell for _, record in scheduler.finished()] for _ in range(3)]
    assert told == [["a", "b"], ["c", "d"], ["e"]]


def test_a_device_of_its_own_measures_while_cores_build(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=2, shares_cores=False)
    for name in "abcd":
        scheduler.add(plan(name, build(name), measure(name)))
    list(finish(scheduler, 4))
    assert any(len(names) > 1 and any(name.startswith("measure") for name in names) for names in workers.beside)
    assert all(sum(name.startswith("measure") for name in names) <= 1 for names in workers.beside)


def test_a_failed_stage_fails_every_plan_that_wants_it_and_no_other(run: Fixture) -> None:
    scheduler, workers = run.scheduler(failures={"bad": CandidateError("no kernel")})
    scheduler.add(plan("a", build("bad"), build("never")))
    scheduler.add(plan("b", build("bad")))
    scheduler.add(plan("c", build("good")))
    assert sorted(finish(scheduler, 3)) == ["a", "b", "c"]
    scheduler.add(plan("d", build("bad")))
    assert list(finish(scheduler, 1)) == ["d"]
    assert sorted(workers.started) == ["bad", "good"]


def test_a_failure_is_not_kept_for_a_later_run(run: Fixture) -> None:
    scheduler, _ = run.scheduler(failures={"bad": CandidateError("no kernel")})
    scheduler.add(plan("a", build("bad")))
    list(finish(scheduler, 1))
    later, workers = run.scheduler()
    later.add(plan("a", build("bad")))
    list(finish(later, 1))
    assert workers.started == ["bad"]


def test_an_error_that_no_cell_can_be_blamed_for_ends_the_run(run: Fixture) -> None:
    scheduler, _ = run.scheduler(failures={"bad": InputError("the metric raises")})
    scheduler.add(plan("a", build("bad")))
    with pytest.raises(InputError, match="the metric raises"):
        list(finish(scheduler, 1))


def test_a_single_stage_can_be_run_without_a_plan(run: Fixture) -> None:
    scheduler, workers = run.scheduler(failures={"bad": InputError("no model")})
    assert scheduler.run_stage(build("x")).key == build("x").key
    scheduler.run_stage(build("x"))
    assert workers.started == ["x"]
    with pytest.raises(InputError, match="no model"):
        scheduler.run_stage(build("bad"))


def test_plans_that_wait_can_be_dropped_and_those_that_run_end(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=1)
    first, second = plan("a", build("x")), plan("b", build("y"))
    scheduler.add(first)
    scheduler.add(second)
    assert list(scheduler.finished(lambda: False)) != []
    assert scheduler.drop_what_waits() == [second]
    assert workers.started == ["x"]


def test_measurements_that_have_not_begun_can_be_dropped_and_leave_nothing_claimed(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=1, batch=3)
    plans = {name: plan(name, measure(name)) for name in "abc"}
    for each in plans.values():
        scheduler.add(each)
    workers.wait = lambda timeout_s: []  # type: ignore[method-assign]
    assert list(scheduler.finished()) == []
    assert workers.started == ["measure a", "measure b", "measure c"]
    assert scheduler.drop_what_waits() == [plans["b"], plans["c"]]
    assert run.store.claim("latency", measure("b").key) is not None
    assert run.store.claim("latency", measure("a").key) is None


def test_machines_other_than_the_devices_build_during_measurements(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=1, elsewhere=1, batch=1)
    for name in "abcd":
        scheduler.add(plan(name, build(name), measure(name)))
    list(finish(scheduler, 4))
    measuring = [index for index, name in enumerate(workers.started) if name.startswith("measure")]
    assert all(len(workers.beside_at_device[index]) == 1 for index in measuring)
    assert any(len(names) == 2 and any(name.startswith("measure") for name in names) for names in workers.beside)


def test_short_builds_fill_the_cores_while_a_turn_waits_for_a_long_one(run: Fixture) -> None:
    scheduler, workers = run.scheduler(slots=2, batch=1)
    scheduler.add(plan("known", build("known"), prune("known")))
    list(finish(scheduler, 1))
    never_run = StageCall("quantized", {"name": "never run"})
    for name, calls in {
        "a": [prune("long")],
        "b": [build("short"), measure("b")],
        "c": [prune("too long")],
        "d": [never_run],
        "e": [build("short too")],
    }.items():
        scheduler.add(plan(name, *calls))
    list(finish(scheduler, 5))
    assert workers.started[2:6] == ["long", "short", "short too", "measure b"]
    assert set(workers.started[6:]) == {"too long", "never run"}


def test_a_lost_stage_runs_again_and_the_others_go_on(run: Fixture) -> None:
    scheduler, workers = run.scheduler()
    workers.losses = {"x": 3}
    scheduler.add(plan("a", build("x")))
    scheduler.add(plan("b", build("y")))
    assert sorted(finish(scheduler, 2)) == ["a", "b"]
    assert workers.started.count("x") == 4
    totals = totals_by_stage(run.entries())["float_tflite"]
    assert (totals.runs, totals.failures) == (2, 0)


def test_a_stage_that_takes_machine_after_machine_with_it_fails(run: Fixture) -> None:
    scheduler, workers = run.scheduler()
    workers.losses = {"x": 4}
    scheduler.add(plan("a", build("x")))
    ((_, record),) = collect(scheduler, 1)
    assert record.facts["reason"] == "float_tflite: it was lost 4 times, the last time because the node died"


def test_a_stage_that_is_lost_before_it_has_begun_is_not_suspected(run: Fixture) -> None:
    scheduler, workers = run.scheduler()
    workers.losses, workers.never_begun = {"x": 9}, {"x"}
    scheduler.add(plan("a", build("x")))
    ((_, record),) = collect(scheduler, 1)
    assert record.state is CellState.MEASURED
    assert workers.started.count("x") == 10


def test_a_stage_that_has_no_place_any_more_fails_its_plans_alone(run: Fixture) -> None:
    reason = CandidateError("latency: no node offers the device")
    scheduler, workers = run.scheduler(batch=1, failures={"no place for measure x": reason})
    scheduler.add(plan("a", measure("x")))
    scheduler.add(plan("b", measure("y")))
    states = {record.cell: record.state for _, record in collect(scheduler, 2)}
    assert states == {"a": CellState.FAILED, "b": CellState.MEASURED}
    assert workers.started == ["measure y"]


@pytest.mark.parametrize("dies", [False, True], ids=["it ends well", "it dies"])
def test_a_stage_that_another_run_is_at_is_not_run_beside_it(run: Fixture, dies: bool) -> None:
    scheduler, workers = run.scheduler()
    call = build("shared")
    claim = run.store.claim(call.stage, call.key)
    assert claim is not None
    scheduler.add(plan("a", call))
    scheduler.add(plan("b", build("own")))
    assert list(finish(scheduler, 1)) == ["b"]
    if not dies:
        run.store.add(StageRecord(call.stage, call.key, {}, {}, 2.0))
    claim.release()
    assert list(finish(scheduler, 1)) == ["a"]
    assert workers.started == (["own", "shared"] if dies else ["own"])


def test_what_another_run_is_at_can_be_dropped(run: Fixture) -> None:
    scheduler, _ = run.scheduler()
    claim = run.store.claim("float_tflite", build("x").key)
    assert claim is not None
    waiting = plan("a", build("x"))
    scheduler.add(waiting)
    assert list(scheduler.finished()) == []
    assert scheduler.drop_what_waits() == [waiting]


def test_a_closed_scheduler_keeps_other_runs_off_nothing(run: Fixture) -> None:
    scheduler, _ = run.scheduler(slots=2)
    scheduler.add(plan("a", build("x")))
    scheduler.add(plan("b", build("y")))
    list(scheduler.finished())
    assert run.store.claim("float_tflite", build("y").key) is None
    scheduler.close()
    assert run.store.claim("float_tflite", build("y").key) is not None
