"""Shares are reached, and what is chosen stays chosen."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpu_kernels.dedup.balance import BalanceConfig, chosen_ids, group_targets
from gpu_kernels.errors import UserError

SIZES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3000), min_size=1)


def ids(sizes: dict[str, int]) -> dict[str, list[str]]:
    return {group: [f"{group}{number}" for number in range(size)] for group, size in sizes.items()}


def test_clusters_may_be_named_by_their_numbers() -> None:
    assert BalanceConfig.model_validate({"shares": {2: 0.5, "3": 0.25}}).shares == {"2": 0.5, "3": 0.25}


def test_weights_of_one_over_the_root_of_the_size() -> None:
    # As many of each as its clips times their weight, scaled so that groups of the median size are whole.
    assert group_targets({"a": 10000, "b": 100, "c": 100, "d": 4}, BalanceConfig()) == {
        "a": 1000,
        "b": 100,
        "c": 100,
        "d": 4,
    }
    # Weights alone decide where no group is used up: 100 : 10 : 1 of 10000, 100 and 1.
    assert group_targets({"a": 10000, "b": 100, "c": 1}, BalanceConfig(samples=111)) == {"a": 100, "b": 10, "c": 1}
    assert group_targets({}, BalanceConfig()) == {}


@given(SIZES, st.integers(1, 9000))
def test_as_many_as_are_asked_for_are_taken_as_far_as_there_are(sizes: dict[str, int], samples: int) -> None:
    targets = group_targets(sizes, BalanceConfig(samples=samples))
    assert sum(targets.values()) == min(samples, sum(sizes.values()))
    assert all(targets[group] <= size for group, size in sizes.items())
    # A greater group has no fewer samples, and no greater part of it is taken.
    by_size = sorted(sizes, key=lambda group: sizes[group])
    for small, great in pairwise(by_size):
        assert targets[small] <= targets[great] + 1
        assert (targets[great] - 1) * sizes[small] <= (targets[small] + 1) * sizes[great]


@given(SIZES, st.floats(0.05, 0.95), st.one_of(st.none(), st.integers(50, 2000)))
def test_asked_shares_are_reached(sizes: dict[str, int], share: float, samples: int | None) -> None:
    sizes = {"x": 500, "rest": 500, **sizes}
    targets = group_targets(sizes, BalanceConfig(shares={"x": share}, samples=samples))
    total = sum(targets.values())
    assert abs(targets["x"] - share * total) <= 1.5 and total >= 50
    assert all(0 <= targets[group] <= size for group, size in sizes.items())
    if samples is None:  # nothing more could be taken
        assert targets["x"] >= 499 or total - targets["x"] >= sum(sizes.values()) - 500 - 1


def test_shares_may_leave_groups_out_and_must_be_possible() -> None:
    assert group_targets({"a": 50, "b": 10, "c": 7}, BalanceConfig(shares={"a": 0.5, "b": 0.5})) == {
        "a": 10,
        "b": 10,
        "c": 0,
    }
    assert group_targets({"a": 50, "b": 10}, BalanceConfig(shares={"a": 0})) == {"a": 0, "b": 10}
    with pytest.raises(UserError, match="names 'z', of which there is no clip; groups: a, b"):
        group_targets({"a": 5, "b": 5}, BalanceConfig(shares={"z": 0.5}))
    with pytest.raises(UserError, match=r"add up to 0\.5, and there is no other group"):
        group_targets({"a": 5}, BalanceConfig(shares={"a": 0.5}))
    for shares in ({"a": 0.6, "b": 0.6}, {"a": 1.5}, {"a": -0.1}):
        with pytest.raises(ValidationError):
            BalanceConfig(shares=shares)


@given(st.integers(1, 200), st.integers(0, 200), st.integers(0, 100))
def test_what_is_chosen_stays_when_more_is_wanted_or_more_is_there(count: int, more: int, wanted: int) -> None:
    few, many = ids({"a": count}), ids({"a": count + more})
    chosen = chosen_ids(few, {"a": wanted}, 0)
    assert len(chosen) == min(count, wanted)
    assert chosen <= chosen_ids(few, {"a": wanted + more}, 0)
    assert chosen_ids(many, {"a": wanted}, 0) & {*few["a"]} <= chosen
    assert chosen_ids({"a": reversed(few["a"])}, {"a": wanted}, 0) == chosen


def test_another_seed_draws_others() -> None:
    assert chosen_ids(ids({"a": 100}), {"a": 50}, 0) != chosen_ids(ids({"a": 100}), {"a": 50}, 1)
