"""Every input that fuzzing began with or that once broke a reader, and random changes of them (`run.py` fuzzes for minutes)."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from targets import TARGETS, feed

SEEDS = Path(__file__).parent / "seeds"
INPUTS = sorted(SEEDS.glob("*/*"))


@pytest.mark.filterwarnings("ignore")  # Pillow and pandas warn of what they then refuse
@pytest.mark.parametrize("seed", INPUTS, ids=lambda seed: f"{seed.parent.name}/{seed.name}")
def test_a_seed_is_read_or_refused_in_one_line(seed: Path) -> None:
    said = feed(seed.parent.name, seed.read_bytes())
    assert len(said.splitlines()) <= 1
    said.encode()


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_a_seed_that_is_read(target: str) -> None:
    assert "" in [feed(target, seed.read_bytes()) for seed in INPUTS if seed.parent.name == target]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", TARGETS)
@settings(
    max_examples=int(os.environ.get("DERMTUNE_FUZZ_EXAMPLES", "40")),
    deadline=None,
    derandomize="DERMTUNE_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_changed_seeds_are_read_or_refused_in_one_line(target: str, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from([file.read_bytes() for file in INPUTS if file.parent.name == target]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(seed)))
        seed = seed[:at] + data.draw(st.binary(max_size=6)) + seed[at + data.draw(st.integers(0, 6)) :]
    said = feed(target, seed)
    assert len(said.splitlines()) <= 1
    said.encode()
