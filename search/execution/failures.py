"""What a trial's error looks like on its way from the worker, and what the driver makes of it."""

import json
import re
import traceback

from ray.exceptions import ActorUnavailableError, RayActorError, RayTaskError

from search.errors import TrialBroke
from search.records.events import FailureKind
from search.strategy.retries import Failure
from trainables.errors import StorageFull, TrialDiverged, is_out_of_memory

_DIED = "WorkerDied: the trial's process ended without a message (killed, out of memory or segmentation fault)"
#: What Ray writes of an actor that its memory monitor has ended, and of one whose node is gone.
_LOW_ON_MEMORY = "running low on memory"
_NODE_GONE = ("its node has died", "actor's node was terminated")


def broken(error: BaseException) -> TrialBroke:
    """A trial's error as text, for the driver."""
    document = {
        "error": type(error).__name__,
        "message": " ".join(str(error).split()),
        "traceback": "".join(traceback.format_exception(error)),
        "kind": _kind_of(error),
        "needed_bytes": error.needed_bytes if isinstance(error, StorageFull) else 0,
    }
    return TrialBroke(json.dumps(document))


def _kind_of(error: BaseException) -> FailureKind:
    if isinstance(error, TrialDiverged):
        return "diverged"
    if isinstance(error, StorageFull):
        return "full"
    return "memory" if is_out_of_memory(error) else "raised"


def failure_of(error: BaseException | None) -> Failure:
    """What befell a trial, from what Ray raised in the driver."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, TrialBroke):
        document = json.loads(cause.document)
        reason = f"{document['error']}: {document['message']}"
        return Failure(document["kind"], reason, document["traceback"], document["needed_bytes"])
    if isinstance(cause, RayActorError):
        text = " ".join(str(cause).split())
        gone = cause.preempted or isinstance(cause, ActorUnavailableError) or any(words in text for words in _NODE_GONE)
        if _LOW_ON_MEMORY in text:
            return Failure("memory", "OutOfMemory: the trial's machine ran low on memory, and Ray ended its process", text)
        where = re.search(r"\bip: (\S+)", text)
        lost = f"NodeLost: the trial's machine{f' ({where[1]})' if where else ''} does not answer any more"
        return Failure("lost", lost, text) if gone else Failure("died", _DIED, text)
    text = " ".join(str(error).split())
    return Failure("raised", f"{type(cause).__name__}: {text[-500:]}", str(error))
