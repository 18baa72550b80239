"""The table of objectives agrees with itself."""

from __future__ import annotations

from litefront.objectives.catalogue import FIGURES, OBJECTIVES, Direction


def test_names_and_figures_lead_to_their_objective() -> None:
    assert all(objective.name == name for name, objective in OBJECTIVES.items())
    assert all(FIGURES[figure].figure == figure for figure in FIGURES)


def test_no_two_objectives_share_a_figure() -> None:
    assert len({objective.figure for objective in OBJECTIVES.values()}) == len(OBJECTIVES)


def test_only_accuracy_and_throughput_are_better_high() -> None:
    high = {name for name, objective in OBJECTIVES.items() if objective.direction is Direction.MAXIMIZE}
    assert high == {"accuracy", "throughput"}


def test_a_loss_is_better_low_whatever_the_direction() -> None:
    assert OBJECTIVES["accuracy"].loss(0.9) < OBJECTIVES["accuracy"].loss(0.8)
    assert OBJECTIVES["latency"].loss(1.0) < OBJECTIVES["latency"].loss(2.0)
