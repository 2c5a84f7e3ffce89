"""The generator's book-keeping: every event has its place, and truth says where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from columnservice.demo.blocks import Layout, Sample
from columnservice.errors import RequestError

pytestmark = pytest.mark.fast

samples = st.builds(
    lambda events, missing, **rest: Sample(events=events, missing=min(missing, events), **rest),
    events=st.integers(1, 700),
    missing=st.integers(0, 100),
    parents=st.integers(1, 5),
    extra=st.sampled_from([0.0, 0.1, 1.7]),
    seed=st.integers(0, 100),
    block_events=st.integers(1, 200),
)


@given(samples)
def test_truth_leads_from_every_local_row_to_the_same_event(sample: Sample):
    layout = Layout(sample)
    local = np.concatenate([events for _, events in layout.local()])
    assert len(local) == sample.events
    assert len(np.unique(local)) == sample.events
    parents: list[list[int]] = [[] for _ in range(sample.parents)]
    for _, parts in layout.parents():
        for parent, events in parts.items():
            parents[parent].extend(events.tolist())
    everywhere = [event for parent in parents for event in parent]
    assert len(everywhere) == len(set(everywhere))
    assert len(set(local.tolist()) - set(everywhere)) == sample.missing
    extra = len(set(everywhere) - set(local.tolist()))
    assert extra == round(sample.events * sample.extra)
    truth = layout.truth
    found = [
        parents[file][row] if file >= 0 else None
        for file, row in zip(truth.parent_file, truth.parent_row, strict=True)
    ]
    expected = [event if event in set(everywhere) else None for event in local.tolist()]
    assert found == expected


def test_keys_are_unique_pass_32_bits_and_keep_blocks_together():
    layout = Layout(Sample(events=2000))
    keys = layout.keys(np.arange(int(layout.starts[-1])))
    assert len(np.unique(keys.event)) == len(keys)
    assert keys.event.min() < 2**32 < keys.event.max()
    assert np.array_equal(np.unique(keys.lumi), np.arange(1, layout.blocks + 1))
    for block in range(layout.blocks):
        assert set(layout.keys(layout.events_of(block)).lumi.tolist()) == {block + 1}


def test_some_blocks_are_spread_over_two_parents_and_the_orders_differ():
    layout = Layout(Sample(events=2000))
    assert any(len(parts) == 2 for _, parts in layout.parents())
    assert [b for b, _ in layout.local()] != [b for b, _ in layout.parents()]
    present = layout.truth.parent_row[layout.truth.parent_file == 0]
    assert (np.diff(present) < 0).any()


@pytest.mark.parametrize(
    "wrong", [{"events": 0}, {"parents": 0}, {"missing": 3, "events": 2}, {"extra": -0.1}]
)
def test_an_impossible_sample_is_refused(wrong: dict[str, int]):
    with pytest.raises(RequestError):
        Sample(**wrong)
