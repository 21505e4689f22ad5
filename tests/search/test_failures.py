"""What the driver makes of an error that a worker, or Ray itself, sends it."""

import pytest
import torch
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from search.errors import TrialBroke
from search.execution.failures import broken, failure_of
from trainables.errors import OutOfMemory, TrialDiverged

DEAD_NODE = (
    "The actor died unexpectedly before finishing this task.\n\tclass_name: TrialWorker\n\tpid: 696\n\tip: 10.77.0.3\n"
    "The actor died because its node has died. Node Id: 7339\n\tthe actor's node was terminated unexpectedly: health check failed"
)
DEAD_WORKER = (
    "The actor died unexpectedly before finishing this task.\n\tpid: 696\nThe actor is dead because its worker process has died."
)


DEAD_OF_MEMORY = "The actor died because 1 worker(s) were killed due to the node running low on memory.\n\tip: 10.77.0.3"


def host_memory() -> RuntimeError:
    """What torch raises on the CPU."""
    try:
        torch.empty(2**60)
    except RuntimeError as error:
        return error
    raise AssertionError("no machine has so much")


def died(text: str) -> ActorDiedError:
    error = ActorDiedError()
    error.error_msg = text
    return error


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (died(DEAD_NODE), "lost", "NodeLost: the trial's machine (10.77.0.3) does not answer any more"),
        (died(DEAD_WORKER), "died", "WorkerDied: the trial's process ended without a message"),
        (ActorUnavailableError("timeout", b"0" * 16), "lost", "NodeLost: the trial's machine does not answer any more"),
        (broken(OutOfMemory("the bowl must have half of a GPU; got 0.25")), "memory", "OutOfMemory: the bowl must have half"),
        (broken(torch.OutOfMemoryError("CUDA out of memory.")), "memory", "OutOfMemoryError: CUDA out of memory."),
        (
            broken(TrialDiverged("valid/height must be\nfinite; got nan")),
            "diverged",
            "TrialDiverged: valid/height must be finite; got nan",
        ),
        (broken(MemoryError("Unable to allocate 8.00 EiB")), "memory", "MemoryError: Unable to allocate 8.00 EiB"),
        (broken(host_memory()), "memory", "RuntimeError: "),
        (died(DEAD_OF_MEMORY), "memory", "OutOfMemory: the trial's machine ran low on memory"),
        (RuntimeError("Tune itself"), "raised", "RuntimeError: Tune itself"),
        (None, "raised", "NoneType: None"),
    ],
)
def test_failures_by_hand(error: BaseException | None, kind: str, reason: str) -> None:
    found = failure_of(error)
    assert found.kind == kind
    assert found.reason.startswith(reason)
    assert "\n" not in found.reason


def test_an_error_crosses_as_text_with_its_trace() -> None:
    try:
        raise TrialDiverged("no number")
    except TrialDiverged as error:
        sent = broken(error)
    arrived = RayTaskError("step", "trace of Ray's", TrialBroke(sent.document))
    found = failure_of(arrived)
    assert (found.kind, found.reason) == ("diverged", "TrialDiverged: no number")
    assert "test_an_error_crosses_as_text_with_its_trace" in found.trace
