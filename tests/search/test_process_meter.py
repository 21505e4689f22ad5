"""What a trial's process takes of its host: plausible where it can be measured, absent where it cannot."""

import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from waiting import let_pass

from search.execution.process_meter import ProcessMeter

CPU_AND_MEMORY = {"process_cpu_percent", "process_memory_mib"}
GPU_MEMORY = "process_gpu_memory_mib"
UTILISATION = "process_gpu_utilisation_percent"


class Cuda:
    """As much of `torch.cuda` as the meter asks."""

    def __init__(self, available: bool = True, initialised: bool = True) -> None:
        self._available, self._initialised = available, initialised
        self.peak_bytes, self.resets = 3 * 2**29, 0

    def is_available(self) -> bool:
        return self._available

    def is_initialized(self) -> bool:
        return self._initialised

    def max_memory_reserved(self) -> int:
        return self.peak_bytes

    def reset_peak_memory_stats(self) -> None:
        self.resets += 1

    def get_device_properties(self, index: int) -> Any:
        assert index == 0
        return SimpleNamespace(uuid="1234-abcd")


def with_cuda(monkeypatch: pytest.MonkeyPatch, **settings: bool) -> Cuda:
    cuda = Cuda(**settings)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))  # type: ignore[arg-type]
    return cuda


def with_driver(monkeypatch: pytest.MonkeyPatch, samples: Any) -> list[tuple[str, int]]:
    """NVIDIA's library as it would be; gives what it is asked: the device, and since when."""
    asked: list[tuple[str, int]] = []

    def utilisation(device: str, since_us: int) -> Any:
        asked.append((device, since_us))
        if isinstance(samples, Exception):
            raise samples
        return [SimpleNamespace(pid=pid, smUtil=share) for pid, share in samples]

    driver = SimpleNamespace(
        nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: uuid, nvmlDeviceGetProcessUtilization=utilisation
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)  # type: ignore[arg-type]
    return asked


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)


@pytest.mark.usefixtures("without_torch")
def test_processor_and_memory_are_those_of_this_process() -> None:
    meter = ProcessMeter()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        pass
    found = meter.read()
    assert set(found) == CPU_AND_MEMORY
    resident_mib = psutil.Process().memory_info().rss / 2**20
    assert resident_mib / 2 < found["process_memory_mib"] < 2 * resident_mib
    assert 5 < found["process_cpu_percent"] < 100 * (os.cpu_count() or 1) + 50
    let_pass(0.3)
    assert meter.read()["process_cpu_percent"] < 60, "since the last reading, not since the start"
    assert all(value == round(value, 1) for value in found.values())


@pytest.mark.usefixtures("without_torch")
def test_a_task_without_torch_does_not_pay_for_its_import() -> None:
    ProcessMeter().read()
    assert "torch" not in sys.modules


@pytest.mark.parametrize(("available", "initialised"), [(False, False), (True, False)])
def test_a_gpu_that_is_not_used_is_not_spoken_of(available: bool, initialised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = with_cuda(monkeypatch, available=available, initialised=initialised)
    assert set(ProcessMeter().read()) == CPU_AND_MEMORY
    assert cuda.resets == 0


def test_a_machine_without_cuda_has_no_gpu_figures() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert set(ProcessMeter().read()) == CPU_AND_MEMORY


@pytest.mark.parametrize(
    "samples", [RuntimeError("Insufficient Permissions"), [], [(os.getpid() + 1, 50)]], ids=["refused", "none", "of others"]
)
def test_gpu_memory_is_given_where_utilisation_cannot_be(samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = with_cuda(monkeypatch)
    with_driver(monkeypatch, samples)
    found = ProcessMeter().read()
    assert set(found) == CPU_AND_MEMORY | {GPU_MEMORY}
    assert found[GPU_MEMORY] == 1536.0
    assert cuda.resets == 1, "the next reading has a peak of its own"


def test_gpu_memory_is_given_without_nvidias_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch)
    monkeypatch.setitem(sys.modules, "pynvml", None)  # type: ignore[arg-type]
    assert set(ProcessMeter().read()) == CPU_AND_MEMORY | {GPU_MEMORY}


def test_utilisation_is_the_mean_of_this_processs_samples_since_the_last_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch)
    own, other = os.getpid(), os.getpid() + 1
    asked = with_driver(monkeypatch, [(own, 30), (other, 99), (own, 50), (own, 41)])
    begun_us = time.time_ns() // 1000
    meter = ProcessMeter()
    assert meter.read()[UTILISATION] == 40.3
    between_us = time.time_ns() // 1000
    meter.read()
    (device, first_us), (_, second_us) = asked
    assert device == "GPU-1234-abcd"
    assert begun_us <= first_us <= second_us <= between_us


def test_a_refused_reading_does_not_make_the_next_one_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch)
    asked = with_driver(monkeypatch, RuntimeError("not now"))
    meter = ProcessMeter()
    meter.read()
    let_pass(0.01)
    meter.read()
    assert asked[1][1] > asked[0][1]
