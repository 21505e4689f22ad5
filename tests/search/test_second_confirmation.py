"""A search that is confirmed again: other seeds, and what has been spent is said before it begins."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, lines_of, plan_of, reported
from small_tables import checkpoint_of, table_source

from search.analysis.confirmation import confirm_search
from search.analysis.confirmation_preview import expected_time, preview
from search.analysis.confirmation_report import write_report
from search.analysis.dry_run import START, UNKNOWN
from search.analysis.leaderboard import open_search
from search.cli.main import run
from search.cli.tables import show_confirmation
from search.errors import PlanError
from search.execution.replanning import prepare_confirmation
from search.records.folder import SearchFolder
from search.records.plan import Plan
from search.records.split_readings import num_readings, record_reading
from search.strategy.confirmation_controller import planned_runs

Confirm = Callable[..., Plan]


def searched(storage: Path, name: str, num_trials: int = 3, **changes: object) -> Plan:
    """A search that has ended: trials t0, t1, ... of 2 epochs of 3 s, the first one best."""
    folder, plan = SearchFolder(storage, name), plan_of(name=name, **changes)
    folder.create(plan).release()
    events = [event_of("search_started", 0.0)]
    for number in range(num_trials):
        trial, height = f"t{number}", 4.0 + number
        epochs = [epoch_of(epoch, height, height, epoch == 1, seconds=3.0) for epoch in (1, 2)]
        events += [*begun(trial, 1.0, seed=plan.seed + number), reported(trial, 8.0, *epochs)]
        events += [event_of("finished", 8.0, trial=trial, reason="max_epochs")]
    events.append(event_of("search_ended", 9.0, reason="all trials"))
    folder.ledger_file.write_text(lines_of(events))
    return plan


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Data with a test split of two cases."""
    return table_source(tmp_path / "data" / "cases.csv", range(2))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return checkpoint_of(tmp_path / "checkpoint", {"diagnosis": ("melanoma", "nevus")})


@pytest.fixture
def confirm(tmp_path: Path) -> Confirm:
    """Takes the plan of a confirmation of `done` and begins it, as far as others see it."""
    searched(tmp_path, "done")

    def begin(num_seeds: int, name: str = "done") -> Plan:
        plan = prepare_confirmation(tmp_path, name, 2, num_seeds, 1)
        SearchFolder(tmp_path, plan.name).create(plan).release()
        return plan

    return begin


def _seeds(plan: Plan) -> set[int]:
    return {planned.seed for planned in planned_runs(plan)}


def test_no_confirmation_has_a_seed_of_another_or_of_the_search(confirm: Confirm) -> None:
    """The second one began at the seed of the first, and told of the same runs what it called fresh."""
    first, second, third = confirm(5), confirm(2), confirm(3)
    assert [plan.name for plan in (first, second, third)] == ["done-confirm", "done-confirm-2", "done-confirm-3"]
    assert [len(_seeds(plan)) for plan in (first, second, third)] == [5, 2, 3]
    assert len(_seeds(first) | _seeds(second) | _seeds(third)) == 10
    assert min(_seeds(first)) > plan_of().seed + plan_of().num_trials


def test_another_searchs_confirmation_takes_no_seeds(confirm: Confirm, tmp_path: Path) -> None:
    """Two searches that are confirmed once are confirmed on the same seeds, whichever comes first."""
    searched(tmp_path, "other")
    assert _seeds(confirm(3)) == _seeds(confirm(3, "other"))


def test_a_damaged_confirmation_is_named_and_stops_no_other(
    confirm: Confirm, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = confirm(3), confirm(3)
    SearchFolder(tmp_path, first.name).plan_file.write_text("{")
    assert min(_seeds(confirm(3))) == max(_seeds(second)) + 1
    assert "done-confirm is left out" in caplog.text


def test_what_has_been_spent_is_said(confirm: Confirm, tmp_path: Path, source: str, checkpoint: Path) -> None:
    searched(tmp_path, "seen", source=source, num_cases={"train": 3, "valid": 2, "test": 2})
    first = prepare_confirmation(tmp_path, "seen", 2, 3, 1)
    assert preview(first, tmp_path).warnings == []
    SearchFolder(tmp_path, first.name).create(first).release()
    record_reading(tmp_path, checkpoint, source)
    second = prepare_confirmation(tmp_path, "seen", 2, 3, 1)
    assert preview(second, tmp_path).warnings == [
        "seen was confirmed before (seen-confirm): this confirmation takes the seeds 1000010 to 1000012, which none of them had",
        f"the test split of {source} has been read once: this confirmation makes reading 2, and every reading spends a little of"
        " what it is worth",
    ]
    record_reading(tmp_path, checkpoint, f"{source}#group=who")
    assert "has been read 2 times: this confirmation makes reading 3" in preview(second, tmp_path).warnings[1]
    assert num_readings(tmp_path, source) == 2, "looking is no reading"


@pytest.mark.parametrize("num_cases", [{"train": 3, "valid": 2, "test": 0}, {"train": 3, "valid": 2}])
def test_without_a_test_split_none_is_read(tmp_path: Path, source: str, checkpoint: Path, num_cases: dict[str, int]) -> None:
    searched(tmp_path, "seen", source=source, num_cases=num_cases)
    record_reading(tmp_path, checkpoint, source)
    found = preview(prepare_confirmation(tmp_path, "seen", 2, 3, 1), tmp_path)
    assert (found.test_reading, found.warnings) == (None, [])


def test_one_seed_is_refused_by_the_command_and_by_the_plan_with_folds_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The help said that 1 would do, and the plan that 2 must be, but for folds."""
    searched(tmp_path, "done")
    for folds in (1, 2):
        assert run(["confirm", "done", "--seeds", "1", "--folds", str(folds), "--storage", str(tmp_path)]) == 2
        assert "1 is not in the range x>=2" in capsys.readouterr().err
        with pytest.raises(PlanError, match=r"^--seeds must be 2 or more: one says nothing of its spread; got 1$"):
            prepare_confirmation(tmp_path, "done", 2, 1, folds)
    assert run(["confirm", "--help"]) == 0
    assert "x>=2" in capsys.readouterr().out.split("--seeds")[1].split("--folds")[0]


def test_a_second_confirmation_says_what_the_first_found(
    confirm: Confirm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its page might contradict that of the first, and said nothing of it."""
    plans = [confirm(3) for _ in range(4)]
    verdicts = []
    for number, plan in enumerate(plans):
        folder = SearchFolder(tmp_path, plan.name)
        events = [event_of("search_started", 0.0)]
        for planned in planned_runs(plan):
            value = 4.0 + 0.01 * (planned.seed % 3) + 5.0 * (planned.candidate != number)
            epoch = epoch_of(1, value, value, is_best=True)
            events += [*begun(planned.trial, 1.0, seed=planned.seed), reported(planned.trial, 2.0, epoch)]
            events += [event_of("finished", 3.0, trial=planned.trial, reason="max_epochs")]
        folder.ledger_file.write_text(lines_of([*events, event_of("search_ended", 9.0, reason="all trials")]))
        verdicts.append(confirm_search(open_search(tmp_path, plan.name), tmp_path))
        if number != 1:  # the second one was never reported
            write_report(verdicts[-1], folder.path)
        if number == 2:
            (folder.path / "confirmation.json").write_text("{")
    assert verdicts[0].earlier == {}
    expected = {"done-confirm": "t0 is better than t1.", "done-confirm-3": "its report cannot be read"}
    assert [verdicts[3].earlier, verdicts[0].winner] == [expected, "t0"]
    page = (SearchFolder(tmp_path, plans[3].name).path / "confirmation.md").read_text()
    show_confirmation(verdicts[3], tmp_path / "page")
    for text in (page, capsys.readouterr().out):
        said = " ".join(text.split())
        assert "report all of them" in said
        assert "done-confirm: t0 is better than t1." in said
    assert "earlier confirmation" not in (SearchFolder(tmp_path, plans[0].name).path / "confirmation.md").read_text()


def test_a_dry_run_says_what_would_run_and_begins_nothing(
    tmp_path: Path, source: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searched(tmp_path, "done", source=source, num_cases={"train": 3, "valid": 2, "test": 2}, max_concurrent=1)
    record_reading(tmp_path, checkpoint, source)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    asked = ("confirm", "done", "--top", "2", "--seeds", "3", "--dry-run", "--storage", str(tmp_path))
    assert run(asked) == 0
    text = " ".join(capsys.readouterr().out.split())
    for line in (
        "done-confirm: 2 configurations of done, ranked by the mean of valid/height (min)",
        "3, 1000007 to 1000009",
        "none: the data's own split",
        "is read at the end: reading 2 of table:",
        f"the test split of {source} has been read once: this confirmation makes reading 2",
    ):
        assert line in text
    assert run([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    low, high = found.pop("hours_low"), found.pop("hours_high")
    # 6 runs of an epoch of 3 s, one after the other, and what stands around them.
    assert 3600 * low < 6 * 3.0 + START.expected_s < 3600 * high < 180
    assert found == {
        **{"name": "done-confirm", "search": "done", "metric": "valid/height", "mode": "min"},
        "configurations": [{"trial": f"t{number}", "epochs": 1, "claimed": 4.0 + number} for number in range(2)],
        **{"seeds": [1000007, 1000008, 1000009], "num_folds": 1, "num_trials": 6},
        **{"earlier_confirmations": [], "test_reading": 2},
    }
    assert sorted(path.name for path in tmp_path.rglob("*")) == before, "nothing has begun"
    assert num_readings(tmp_path, source) == 1


def test_the_expected_time_grows_with_the_work_and_is_not_known_without_epochs(confirm: Confirm, tmp_path: Path) -> None:
    three, twelve = (
        expected_time(prepare_confirmation(tmp_path, "done", 2, number, 1), tmp_path, on_this_machine=False) for number in (3, 12)
    )
    assert three is not None
    assert twelve is not None
    assert three.expected_s < twelve.expected_s
    of_low, of_expected = twelve.low_s - three.low_s, twelve.expected_s - three.expected_s
    assert of_low * (1 + UNKNOWN) < 0.9 * of_expected, "half-way one of the two may be dropped"
    plan = prepare_confirmation(tmp_path, "done", 2, 3, 1)
    assert expected_time(replace(plan, max_concurrent=None), tmp_path, on_this_machine=False) is None
