"""A search in MLflow: one experiment, a summary run and a flat run per trial, written behind the search's back."""

import logging
import queue
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from mlflow.entities import Metric, Param, RunTag

from search.records.description import search_page
from search.records.event_messages import notice
from search.records.events import (
    CheckpointDeleted,
    Continued,
    Event,
    Failed,
    Finished,
    Interrupted,
    Reported,
    SearchEnded,
    SearchResumed,
    Stopped,
    Suggested,
    TrialEvent,
)
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.records.state import SearchState
from search.records.tracking.address import is_on_server
from search.records.tracking.entities import (
    NOTE_TAG,
    STATUS,
    closing_metrics,
    closing_tags,
    metrics_of,
    ms,
    plan_params,
    plan_tags,
    summary_tags,
    summary_values,
    trial_params,
)
from search.records.tracking.retrying import PATIENCE_S, RetryingCaller, StoreAway
from search.records.tracking.run_queue import RunQueue
from search.records.tracking.runs import SearchRuns
from search.records.tracking.store import STORE_ERRORS, connect, reason
from search.records.trials import ENDED, TrialRecord

#: Seconds between two looks at what has come, and what a running trial's metrics wait at most, so that one call carries many.
GATHER_S, FLUSH_S = 0.5, 2.0
#: Seconds between two summaries of a running search, at least.
SUMMARY_S = 2.0
_BATCH = 900
#: Calls to a server at once; a database on this machine takes one at a time anyway.
_SENT_AT_ONCE = 4
#: Tune's loop takes the interpreter back so soon from the thread that writes; Python's own 5 ms a turn would hold it up.
_SWITCH_S = 0.001
_STILL_AWAY = "MLflow is still away: waiting %.0f s; Ctrl-C goes without (dermtune doctor %s --repair sends the rest)"
_log = logging.getLogger("dermtune.tracking")
_T = TypeVar("_T")


@dataclass
class _Batch:
    """What waits to be written to one run, in one call where it fits."""

    params: list[Param] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    tags: list[RunTag] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class MlflowTracker:
    """Writes a ledger's events to MLflow from a thread of its own, in order, in batches.

    A store that is away is asked again until it is back: events wait in memory, and on disk in the ledger, from which
    `dermtune doctor NAME --repair` and a resumption send what was never sent. Events that the store has already may be given
    again: runs are found by their trial's tag, and metrics bear the event's time, so that the store takes none twice. What
    the store refuses is said in the end, and the rest is written all the same.

    Args:    uri: of the tracking store.
             plan: of the search.
             storage: folder of all searches; artifacts go below it when no server takes them.
             environment: versions and machine, for the summary run.
             anew: trials to write again whatever the store says of them; the others that have ended in the store and in the
                 events given before `start` are left alone.
             patience_s: how long `close` waits for a store that is away.
    """

    def __init__(
        self,
        uri: str,
        plan: Plan,
        storage: Path,
        environment: Mapping[str, str],
        anew: Collection[str] = (),
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.uri, self.experiment_id = uri, ""
        self._plan, self._storage, self._environment, self._anew = plan, storage, environment, anew
        self._state = SearchState(plan.objective, plan.constraints)
        self._past: list[Event] = []
        self._notices: list[str] = []
        self._skipped: set[str] = set()
        self._refused: set[str] = set()
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._summary_due = 0.0
        self._waiting: defaultdict[str, _Batch] = defaultdict(_Batch)
        self._failure: Exception | None = None
        self._caller = RetryingCaller(uri, patience_s)
        self._run_queue = RunQueue(_SENT_AT_ONCE if is_on_server(uri) else 1)
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    def start(self) -> None:
        """Begins to write. Opening the store happens in the background, too."""
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_S)
        self._thread.start()

    def on_event(self, event: Event) -> None:
        """Takes one event; never waits for the store."""
        if self._thread.ident is None:
            self._past.append(event)
        else:
            self._events.put(event)

    def close(self) -> Exception | None:
        """Waits until everything is written; gives what kept it from being so, if anything."""
        if self._thread.ident is not None:
            self._events.put(None)
            self._caller.last_calls()
            try:  # from the line that offers Ctrl-C on
                if self._caller.is_away:
                    _log.warning(_STILL_AWAY, self._caller.patience_s, self._plan.name)
                self._thread.join()
            except KeyboardInterrupt:
                self._caller.give_up()
                return StoreAway("interrupted while MLflow was being written to")
            finally:
                sys.setswitchinterval(self._switch_s)
        return self._failure

    def _work(self) -> None:
        try:
            self._open()
            if self._past:
                ended = self._ended_before()
                self._skipped |= ended
                self._handle(self._past)
                self._flush()
                self._run_queue.wait()
                self._skipped -= ended
            while (events := self._gather()) is not None:
                self._handle(events)
            self._flush()
            self._run_queue.wait()
        except Exception as error:  # noqa: BLE001 - artifact stores raise errors of their own, and none may pass unsaid
            self._failure = error
            _log.warning("MLflow did not take everything: %s", reason(error))

    def _gather(self) -> list[Event] | None:
        """What has come until a trial ended or a moment passed; None when nothing more will come."""
        events: list[Event] = []
        deadline = time.monotonic() + GATHER_S
        while not (events and events[-1].event in ENDED):
            try:
                event = self._events.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                break
            if event is None:
                if not events:
                    return None
                self._events.put(None)
                break
            events.append(event)
        return events

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            self._state.apply(event)
            if not isinstance(event, TrialEvent):
                self._of_search(event)
            elif event.trial not in self._skipped:
                self._of_trial(event)
        self._flush(older_than_s=FLUSH_S)
        ends = [event for event in events if event.event in (*ENDED, "search_ended")]
        if events and (time.monotonic() >= self._summary_due or events[-1].event == "search_ended"):
            self._summarise((ends or events)[-1])

    def _flush(self, older_than_s: float = 0.0) -> None:
        """Writes what has waited so long, or is as much as a call may carry."""
        limit = time.monotonic() - older_than_s
        for trial in [t for t, batch in self._waiting.items() if batch.since <= limit or len(batch.metrics) >= _BATCH]:
            self._write_trial(trial, self._waiting.pop(trial))

    def _of_trial(self, event: TrialEvent) -> None:
        trial = event.trial
        record = self._state.trials[trial]
        match event:
            case Reported():
                self._waiting[trial].metrics += metrics_of(event)
            case Suggested():
                self._guard(trial, lambda: self._runs.open(record, event))
                self._waiting[trial].params = [Param(*item) for item in trial_params(record).items()]
            case Finished() | Stopped() | Failed() | Interrupted() if record.state in STATUS:
                batch, status, end = self._waiting.pop(trial, _Batch()), STATUS[record.state], ms(event)
                batch.metrics += closing_metrics(record, end)
                batch.tags = closing_tags(record, self._plan, self._checkpoint(record))
                self._write_trial(trial, batch)
                self._tell(trial, lambda: self._client.set_terminated(self._runs.trials[trial], status=status, end_time=end))
            case Continued():
                self._tell(trial, lambda: self._client.update_run(self._runs.trials[trial], status="RUNNING"))
            case CheckpointDeleted():
                self._waiting[trial].tags.append(RunTag("checkpoint", "deleted: not among the best"))

    def _of_search(self, event: Event) -> None:
        run = self._runs.summary
        if isinstance(event, SearchResumed):
            self._tell("", lambda: self._client.update_run(run, status="RUNNING"))
        elif isinstance(event, SearchEnded):
            status, end = "KILLED" if event.reason == "interrupted" else "FINISHED", ms(event)
            self._tell("", lambda: self._client.set_terminated(run, status=status, end_time=end))
            page = search_page(self._state, self._plan, self._notices)
            self._tell("", lambda: self._client.set_experiment_tag(self.experiment_id, NOTE_TAG, page))
        elif (line := notice(event)) is not None:
            self._notices.append(line)

    def _summarise(self, event: Event) -> None:
        """Where the search stands after this event; the step is the number of trials that have ended."""
        begun, stamp, step = time.monotonic(), ms(event), self._state.count(*ENDED)
        metrics = [Metric(name, value, stamp, step) for name, value in summary_values(self._state, self._plan).items()]
        tags = summary_tags(self._state, self._plan, self._notices)
        self._guard("", lambda: self._write(self._runs.summary, metrics, tags=tags))
        took_s = time.monotonic() - begun
        self._summary_due = time.monotonic() + max(SUMMARY_S, 20 * took_s)

    def _write_trial(self, trial: str, batch: _Batch) -> None:
        self._guard(trial, lambda: self._write(self._runs.trials[trial], batch.metrics, batch.params, batch.tags))

    def _write(self, run: str, metrics: Sequence[Metric], params: Sequence[Param] = (), tags: Sequence[RunTag] = ()) -> None:
        """One call, or several when there are more metrics than MLflow takes at once."""
        self._send(lambda: self._client.log_batch(run, metrics=metrics[:_BATCH], params=params, tags=tags))
        for start in range(_BATCH, len(metrics), _BATCH):
            part = metrics[start : start + _BATCH]
            self._send(partial(self._client.log_batch, run, metrics=part))

    def _checkpoint(self, trial: TrialRecord) -> str | None:
        return None if trial.checkpoint is None else SearchFolder(self._storage, self._plan.name).address(trial.checkpoint)

    def _tell(self, trial: str, call: Callable[[], object]) -> None:
        """One call to the store about a trial, or about the search ("")."""
        self._guard(trial, lambda: self._send(call))

    def _guard(self, trial: str, work: Callable[[], object]) -> None:
        """Has something of a trial, or of the search (""), written after all that was written of it before."""
        self._run_queue.submit(trial, lambda: self._attempt(trial, work))

    def _attempt(self, trial: str, work: Callable[[], object]) -> None:
        """What the store refuses does no harm to the other trials."""
        if trial in self._refused:
            return
        try:
            work()
        except STORE_ERRORS as error:
            if self._failure is None:
                _log.warning("MLflow refused something of %s: %s", trial or "the search", reason(error))
            self._failure = self._failure or error
            if trial:
                self._refused.add(trial)

    def _send(self, call: Callable[[], _T]) -> _T:
        return self._caller.call(call)

    def _open(self) -> None:
        self._client = self._send(lambda: connect(self.uri))
        self._runs = SearchRuns(self._client, self._caller, self.uri, self._plan, self._storage)
        self.experiment_id = self._runs.experiment_id
        params, tags = plan_params(self._plan), plan_tags(self._plan, self._environment)
        self._guard("", lambda: self._write(self._runs.summary, [], params, tags))
        self._tell("", lambda: self._client.log_dict(self._runs.summary, self._plan.to_json(), "plan.json"))

    def _ended_before(self) -> set[str]:
        """Trials that ended in earlier processes and in the store, too: their past is not written again."""
        records = SearchState.of(self._past, self._plan.objective).trials
        ended = {trial for trial, status in self._runs.find().items() if status in ("FINISHED", "FAILED")}
        return {t for t in ended if t in records and records[t].state in ENDED and t not in self._anew}
