"""Errors keep what they say, on their way from a worker as well."""

from __future__ import annotations

import pickle

import pytest

from litefront.spaces.errors import CandidateError, InputError, LitefrontError, StoreError


@pytest.mark.parametrize("problems", ["one problem", ["first", "second"]])
def test_an_input_error_has_a_sentence_a_problem(problems: str | list[str]) -> None:
    error = InputError(problems)
    assert list(error.problems) == ([problems] if isinstance(problems, str) else problems)
    assert str(error).splitlines() == list(error.problems)


@pytest.mark.parametrize("error", [InputError(["first", "second"]), CandidateError("crashed"), StoreError("disk full")])
def test_an_error_survives_the_way_from_another_process(error: LitefrontError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert getattr(copy, "problems", None) == getattr(error, "problems", None)


@pytest.mark.parametrize("kind", [InputError, CandidateError, StoreError])
def test_every_error_is_one_of_ours(kind: type[Exception]) -> None:
    assert issubclass(kind, LitefrontError)
