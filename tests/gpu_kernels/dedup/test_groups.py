"""Groups and keepers, against brute force and whatever the order of the input."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from gpu_kernels.dedup.groups import Quality, connected_components, keeper


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60), st.randoms(use_true_random=False))
def test_groups_are_the_connected_components_in_any_order(edges, chance: random.Random):
    groups = connected_components(range(31), edges)
    shuffled = [tuple(chance.sample(edge, 2)) for edge in chance.sample(edges, len(edges))]
    assert connected_components(reversed(range(31)), shuffled) == groups
    assert sorted(node for group in groups for node in group) == list(range(31))
    group_of = {node: index for index, group in enumerate(groups) for node in group}
    assert all(group_of[one] == group_of[other] for one, other in edges)
    # No group is larger than its edges make it: each is reachable from its first node.
    for group in groups:
        reached, pending = {group[0]}, [group[0]]
        while pending:
            node = pending.pop()
            near = {b for a, b in edges if a == node} | {a for a, b in edges if b == node}
            pending += near - reached
            reached |= near
        assert reached == set(group)


def test_the_keeper_has_most_pixels_then_bitrate_length_sharpness_and_the_smallest_key():
    best = Quality(pixels=400, bitrate=9.0, length_ns=5, sharpness=2.0)
    worse = [
        replace(best, pixels=300, bitrate=99.0),
        replace(best, bitrate=8.0, length_ns=50),
        replace(best, length_ns=4, sharpness=9.0),
        replace(best, sharpness=1.0),
    ]
    for number, other in enumerate(worse):
        assert keeper(["a", "b"], {"a": other, "b": best}) == "b", number
    assert keeper(["b", "a"], {"a": best, "b": best}) == "a"
