"""What one trial's process takes of its host: MLflow's own system metrics are of the whole host and all its GPUs."""

import os
import sys
import time
from typing import Any

import psutil


class ProcessMeter:
    """Measures this process between one reading and the next.

    GPU figures need a CUDA device in use; utilisation also NVIDIA's driver library and its view of this process's id, which
    a container may hide: what cannot be measured is left out.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()
        self._read_at_us = time.time_ns() // 1000

    def read(self) -> dict[str, float]:
        """`process_cpu_percent` (100: one core), `process_memory_mib`, and with a GPU `process_gpu_memory_mib` (the peak
        since the last reading) and `process_gpu_utilisation_percent`."""
        found = {
            "process_cpu_percent": self._process.cpu_percent(),
            "process_memory_mib": self._process.memory_info().rss / 2**20,
        }
        torch = sys.modules.get("torch")  # a task without torch need not pay for its import
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            found["process_gpu_memory_mib"] = torch.cuda.max_memory_reserved() / 2**20
            torch.cuda.reset_peak_memory_stats()
            utilisation = self._utilisation(torch)
            if utilisation is not None:
                found["process_gpu_utilisation_percent"] = utilisation
        return {name: round(value, 1) for name, value in found.items()}

    def _utilisation(self, torch: Any) -> float | None:
        """Mean share of the multiprocessors that this process kept busy since the last reading."""
        try:
            import pynvml

            pynvml.nvmlInit()
            device = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
            samples = pynvml.nvmlDeviceGetProcessUtilization(device, self._read_at_us)
        except Exception:  # noqa: BLE001 - no driver, no library, no permission, no sample: then there is no figure
            return None
        finally:
            self._read_at_us = time.time_ns() // 1000
        own = [sample.smUtil for sample in samples if sample.pid == os.getpid()]
        return sum(own) / len(own) if own else None
