"""Pictures of searches and trials: they draw without a warning, and their lines are those worked by hand."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported, state_after
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from search.analysis import figures
from search.analysis.importance import Importance, importance_of
from search.analysis.search_figures import (
    best_so_far,
    importance_bars,
    parallel_coordinates,
    pictures_of_search,
    rung_survival,
    slices,
    varied,
)
from search.analysis.trial_figures import (
    attention_sequences,
    confusion_matrices,
    learning_curves,
    pictures_of_trial,
    sharing_matrices,
)
from search.records.constraints import Constraint
from search.records.events import Event
from search.records.plan import Plan
from search.records.state import SearchState
from spaces.fields import Value
from trainables.contract import Objective
from trainables.evaluation import Confusions
from trainables.explanation import Explanation, Gaze, SeenCase
from trainables.sharing import Sharing

PNG = b"\x89PNG\r\n\x1a\n"
PLAN = plan_of(num_trials=12, max_epochs=9)
TWO = replace(PLAN, further_objectives=(Objective("valid/cost", "min"),))


def pngs(found: Mapping[str, Figure]) -> dict[str, bytes]:
    """Draws every picture, whose warnings are errors."""
    drawn = {name: figures.png(figure) for name, figure in found.items()}
    assert all(png.startswith(PNG) and len(png) > 2000 for png in drawn.values())
    for figure in found.values():
        assert figures.svg(figure).startswith("<svg")
    return drawn


def axes_of(figure: Figure) -> Axes:
    (axes,) = figure.axes
    return axes


def line(axes: Axes, label: str) -> tuple[list[float], list[float]]:
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return list(map(float, found.get_xdata())), list(map(float, found.get_ydata()))


def written(figure: Figure) -> list[Bbox]:
    """Where each label, title and legend of a picture that has been drawn stands, in dots."""
    found = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    legends = [*figure.legends, *(legend for axes in figure.axes if (legend := axes.get_legend()) is not None)]
    found += [*figure.texts, *(text for legend in legends for text in legend.get_texts())]
    return [text.get_window_extent() for text in found if text.get_text()]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def a_trial(number: int, epochs: int, *, end: str = "finished", seconds: float = 2.0, **given: Value) -> list[Event]:
    """A trial that begins at `number` seconds and sinks from `number` + 1, an epoch a report, all in that second."""
    name, events = f"t{number}", begun(f"t{number}", float(number), **given)
    for epoch in range(1, epochs + 1):
        height = (number + 1) / epoch
        told = epoch_of(epoch, height, height, True, seconds=seconds, cost=number - epoch / 10)
        events.append(reported(name, number + 0.2 + epoch / 50, told))
    return [*events, event_of(end, number + 0.9, trial=name, reason="because")]


def twelve(*, tilted: bool = False, times: int = 1) -> list[Event]:
    """Twelve trials, or more: one failed after an epoch and one before, some stopped, some without a full mean."""
    generator, events = np.random.default_rng(1), [event_of("search_started", 0.0)]
    for number in range(12 * times):
        given: dict[str, Value] = {"x": float(generator.uniform(-1, 1)), "rate": float(generator.uniform(0.05, 1))}
        if tilted and number % 3:
            given |= {"shape": "tilted", "tilt": float(generator.random())}
        end = "failed" if number in (4, 5) else "finished" if number % 2 else "stopped"
        events += a_trial(number, {4: 1, 5: 0, 6: 1}.get(number, 9 if end == "finished" else 3), end=end, **given)
    return events


KINDS: dict[str, tuple[Plan, list[Event]]] = {
    "twelve trials": (PLAN, twelve()),
    "forty trials": (PLAN, twelve(tilted=True, times=4)),
    "conditional fields": (PLAN, twelve(tilted=True)),
    "two objectives": (TWO, twelve()),
    "failed ones and one": (PLAN, [*a_trial(0, 2, end="failed"), *a_trial(1, 0, end="failed"), *a_trial(2, 3)]),
    "failed ones only": (PLAN, [*a_trial(0, 2, end="failed"), *a_trial(1, 0, end="failed")]),
    "one trial": (PLAN, a_trial(0, 9)),
    "one epoch": (PLAN, a_trial(0, 1, end="stopped")),
    "two equal ones": (PLAN, [*a_trial(0, 3), *a_trial(1, 3)]),
    "two that differ in one field": (PLAN, [*a_trial(0, 3), *a_trial(1, 3, shape="tilted", tilt=0.5)]),
    "no scheduler": (replace(PLAN, scheduler="none"), twelve()),
    "hours": (PLAN, [*a_trial(0, 3, seconds=3600.0), *a_trial(1, 3, seconds=1e5, x=0.5)]),
    "no trial": (PLAN, [event_of("search_started", 0.0)]),
}
EXTRA = {"parallel_coordinates", "slices"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_of_a_search_draws_without_a_warning(kind: str) -> None:
    plan, events = KINDS[kind]
    state = state_after(plan, events)
    found = pictures_of_search(plan, state, importance_of(plan, state))
    expected = {"best_so_far", "rung_survival"}
    if len(state.ranked()) > 1 and kind != "two equal ones":
        expected |= EXTRA
    if plan.further_objectives:
        expected.add("pareto_front")
    if kind == "forty trials":
        expected.add("importance")
    assert set(found) == expected
    pngs(found)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "no trial"])
def test_the_learning_curves_of_every_trial_draw_without_a_warning(kind: str) -> None:
    plan, events = KINDS[kind]
    trials = [trial for trial in state_after(plan, events).trials.values() if trial.epochs]
    for trial in trials[:3]:
        found = pictures_of_trial(plan, trial, None)
        assert set(found) == {"learning_curves"}
        pngs(found)


def test_the_same_figure_gives_the_same_bytes() -> None:
    state = state_after(PLAN, twelve())
    one, other = (figures.svg(rung_survival(PLAN, state)) for _ in range(2))
    assert one == other
    assert figures.png(rung_survival(PLAN, state)) == figures.png(rung_survival(PLAN, state))


HAND = [
    *begun("t0", 0.0),
    *begun("t1", 0.5, x=0.5),
    reported("t0", 1.0, epoch_of(1, 9.0, 9.0, True, seconds=10.0)),
    reported("t1", 2.0, epoch_of(1, 1.0, 1.0, True, seconds=20.0)),  # low, but a mean over one validation
    reported("t0", 3.0, epoch_of(2, 7.0, 8.0, True, seconds=10.0), epoch_of(3, 5.0, 7.0, True, seconds=10.0)),
    reported("t1", 4.0, epoch_of(2, 3.0, 2.0, True, seconds=5.0)),
    reported("t1", 5.0, epoch_of(3, 17.0, 7.0, True, seconds=5.0)),  # no better than the leader
    reported("t0", 6.0, epoch_of(4, 9.0, 7.5, False, seconds=10.0)),
    reported("t1", 7.0, epoch_of(4, 1.0, 6.0, True, seconds=5.0)),
    reported("t0", 8.0, epoch_of(5, 1.0, 6.5, True, seconds=10.0)),
]


def test_the_best_so_far_of_two_trials_worked_by_hand() -> None:
    axes = axes_of(best_so_far(PLAN, state_after(PLAN, HAND)))
    # t0 and t1 in turn: 10, 30, 40, 50, 55, 60, 70, 75, 85 seconds.
    assert line(axes, "best so far") == ([50.0, 75.0, 85.0], [7.0, 6.0, 6.0])
    dots = {(x, y) for one in axes.get_lines() if one.get_marker() == "o" for x, y in zip(*one.get_data(), strict=True)}
    assert dots == {(75.0, 6.0), (85.0, 6.5)}, "each trial's own best epoch"
    assert axes.get_xlabel() == "training time of all trials together (s)"
    assert axes.get_ylabel() == "score (min):\nmean of the last three validations of valid/height"


def test_the_best_so_far_looks_for_more_where_more_is_better() -> None:
    plan = replace(PLAN, objective=Objective("valid/height", "max"))
    events = [
        *begun("t0", 0.0),
        reported("t0", 1.0, *(epoch_of(e, float(s), float(s), True, seconds=60.0) for e, s in ((1, 9), (2, 8), (3, 1)))),
        reported("t0", 2.0, epoch_of(4, 2.0, 2.0, True, seconds=60.0), epoch_of(5, 1.5, 1.5, False, seconds=60.0)),
    ]
    axes = axes_of(best_so_far(plan, state_after(plan, events)))
    assert line(axes, "best so far") == ([3.0, 4.0, 5.0], [1.0, 2.0, 2.0])
    assert axes.get_xlabel().endswith("(min)")


def test_a_failed_trial_is_never_the_best_so_far() -> None:
    events = [*HAND, event_of("failed", 9.0, trial="t1", reason="broke")]
    axes = axes_of(best_so_far(PLAN, state_after(PLAN, events)))
    assert line(axes, "best so far")[1] == [7.0, 6.5, 6.5]


def test_the_best_so_far_ends_at_the_best_of_the_search() -> None:
    state = state_after(PLAN, twelve())
    assert state.best is not None
    assert line(axes_of(best_so_far(PLAN, state)), "best so far")[1][-1] == state.best.score


def test_rung_survival_worked_by_hand() -> None:
    events = [*a_trial(0, 9), *a_trial(1, 3, end="stopped"), *a_trial(2, 1, end="stopped"), *a_trial(3, 0), *a_trial(4, 3)]
    axes = axes_of(rung_survival(PLAN, state_after(PLAN, events)))
    curve, *rungs = axes.get_lines()
    assert curve.get_xdata().tolist() == list(range(1, 10))
    assert curve.get_ydata().tolist() == [4, 3, 3, 1, 1, 1, 1, 1, 1]
    assert [rung.get_xdata()[0] for rung in rungs] == [1, 3], "grace period 1 times powers of 3, below 9"
    (alone,) = axes_of(rung_survival(replace(PLAN, scheduler="none"), state_after(PLAN, events))).get_lines()
    assert alone.get_ydata().tolist() == curve.get_ydata().tolist()


def test_parallel_coordinates_of_three_trials_worked_by_hand() -> None:
    events = [
        *a_trial(0, 3, x=-1.0, rate=0.1),  # heights end at 1/3
        *a_trial(1, 3, x=0.0, rate=1.0),  # at 2/3
        *a_trial(2, 3, x=1.0, rate=math.sqrt(0.1), shape="tilted", tilt=0.5),  # at 1
    ]
    axes = axes_of(parallel_coordinates(PLAN, state_after(PLAN, events)))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "shape", "tilt", "rate", "score"]
    (lines,) = [found for found in axes.collections if isinstance(found, LineCollection)]
    heights = [[float(y) for _, y in segment] for segment in lines.get_segments()]
    # Worst first, so that the best lies in front; an inactive tilt lies below its axis; rates are logarithmic.
    expected = [[1.0, 1.0, 0.5, 0.5, 1.0], [0.5, 0.0, -0.1, 1.0, 0.5], [0.0, 0.0, -0.1, 0.0, 0.0]]
    assert np.allclose(heights, expected)
    widths = list(lines.get_linewidths())
    assert widths == sorted(widths)
    assert {"-1", "0", "1", "0.1", "0.316", "–", "round", "tilted", "0.3333", "0.6667"} <= set(texts(axes))


def test_fields_that_find_no_room_side_by_side_stand_in_further_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.analysis.search_figures._COORDINATES", 2)
    figure = parallel_coordinates(PLAN, state_after(PLAN, twelve(tilted=True)))
    rows = [[label.get_text() for label in axes.get_xticklabels()] for axes in figure.axes]
    assert rows == [["x", "shape", "score"], ["tilt", "rate", "score"]], "every field that varies, in the order of the space"
    assert figure.get_supxlabel() == "score (min): mean of the last three validations of valid/height"


def test_where_one_value_is_there_is_one_tick() -> None:
    events = [*a_trial(0, 3, x=-1.0, rate=0.1), *a_trial(1, 3, x=1.0, shape="tilted", tilt=0.25)]
    by_title = {axes.get_title(): axes for axes in slices(PLAN, state_after(PLAN, events)).axes}
    assert [label.get_text() for label in by_title["tilt"].get_xticklabels()] == ["0.25"]


def test_the_front_of_two_objectives_is_drawn_with_those_beyond_a_limit_marked() -> None:
    plan = replace(TWO, constraints=(Constraint("valid/height", "<=", 0.9),))
    events = [*a_trial(0, 3), *a_trial(1, 3), *a_trial(2, 3)]  # heights end at 1/3, 2/3 and 1; costs grow
    axes = axes_of(pictures_of_search(plan, state_after(plan, events), None)["pareto_front"])
    shown = {one.get_label(): len(one.get_xdata()) for one in axes.get_lines()}
    assert shown == {"beyond a limit": 1, "not on the front": 1, "on the Pareto front": 1}
    assert texts(axes) == ["t0"]
    assert axes.get_xlabel() == "score (min):\nmean of the last three validations of valid/height"


def test_slices_are_filled_for_trials_that_ended_by_themselves() -> None:
    events = [*a_trial(0, 3, x=-1.0), *a_trial(1, 3, x=1.0, end="stopped"), *a_trial(2, 3, x=0.0)]
    axes = axes_of(slices(PLAN, state_after(PLAN, events)))
    full, hollow = axes.get_lines()
    assert (full.get_fillstyle(), hollow.get_fillstyle()) == ("full", "none")
    assert sorted(zip(*full.get_data(), strict=True)) == [(0.0, pytest.approx(1 / 3)), (0.5, pytest.approx(1.0))]
    assert list(zip(*hollow.get_data(), strict=True)) == [(1.0, pytest.approx(2 / 3))]
    assert axes.get_title() == "x"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["-1", "0", "1"]


def test_a_slice_shows_the_unit_and_only_active_trials() -> None:
    events = [*a_trial(0, 3, rate=0.1), *a_trial(1, 3, rate=0.2), *a_trial(2, 3, rate=0.2, shape="tilted", tilt=0.4)]
    state = state_after(PLAN, events)
    assert [field.name for field in varied(PLAN, state.ranked())] == ["shape", "tilt", "rate"]
    by_title = {axes.get_title(): axes for axes in slices(PLAN, state).axes if axes.get_title()}
    assert set(by_title) == {"shape", "tilt", "rate (1/epoch)"}
    assert sum(len(found.get_xdata()) for found in by_title["tilt"].get_lines()) == 1
    assert sum(len(found.get_xdata()) for found in by_title["shape"].get_lines()) == 3


def test_bars_and_marks_of_importance_belong_together() -> None:
    found = Importance(30, {"x": 0.7, "y": 0.1, "rate": 0.2}, {"x": 0.31, "y": 0.32, "rate": 0.33})
    axes = axes_of(importance_bars(found))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["y", "rate", "x"], "the largest on top"
    assert [bar.get_width() for bar in axes.patches] == [0.1, 0.2, 0.7]
    (marks,) = axes.get_lines()
    assert list(marks.get_xdata()) == [0.32, 0.33, 0.31]
    assert "30 trials" in axes.get_xlabel()
    figure = importance_bars(replace(found, left_out={"shape": 30, "tilt": 4}))
    assert figure.get_supxlabel().replace("\n", " ").endswith("(in how many): shape (30), tilt (4)"), (
        "fields without a bar are named"
    )


def test_importance_without_a_bar_beyond_its_mark_says_so() -> None:
    found = Importance(30, {"x": 0.31, "y": 0.1}, {"x": 0.31, "y": 0.32}, {"shape": 30})
    said = importance_bars(found).get_supxlabel().replace("\n", " ")
    assert said.startswith("Nothing can be told apart from chance with 30 trials: ")
    assert said.endswith("(in how many): shape (30)")
    assert importance_bars(replace(found, shares={"x": 0.32, "y": 0.1}, left_out={})).get_supxlabel() == ""


@pytest.mark.parametrize("kind", ["forty trials", "two objectives", "hours"])
def test_no_writing_is_cut_off(kind: str) -> None:
    plan, events = KINDS[kind]
    state = state_after(plan, events)
    for name, figure in pictures_of_search(plan, state, importance_of(plan, state)).items():
        figure.draw_without_rendering()
        for place in written(figure):
            assert 0 <= place.x0 <= place.x1 <= figure.bbox.width, name
            assert 0 <= place.y0 <= place.y1 <= figure.bbox.height, name


def test_learning_curves_show_objectives_score_losses_and_the_best_epoch() -> None:
    losses = [{"train/loss": 3.0, "valid/loss": 2.0}, {"train/loss": 1.0, "valid/loss": 2.5}]
    epochs = [epoch_of(1, 4.0, 4.0, True, cost=1.0), epoch_of(2, 5.0, 4.5, False, cost=2.0)]
    told = [replace(epoch, metrics={**epoch.metrics, **more}) for epoch, more in zip(epochs, losses, strict=True)]
    trial = state_after(TWO, [*begun("t0", 0.0), reported("t0", 1.0, *told)]).trials["t0"]
    figure = learning_curves(TWO, trial)
    first, second, third = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["valid/height", "valid/cost", "loss"]
    assert line(first, "valid/height") == ([1.0, 2.0], [4.0, 5.0])
    assert line(first, "score (mean of three)") == ([1.0, 2.0], [4.0, 4.5])
    assert line(second, "valid/cost") == ([1.0, 2.0], [1.0, 2.0])
    assert line(third, "train/loss")[1] == [3.0, 1.0]
    assert line(third, "valid/loss")[1] == [2.0, 2.5]
    assert all(axes.get_lines()[-1].get_xdata()[0] == 1 for axes in figure.axes), "the best epoch is dashed"
    pngs({"curves": figure})


MATRICES = {
    "DIAG": Confusions(("NEV", "MEL"), {"valid": [[8, 2], [0, 5]]}),
    "PN": Confusions(("ABS", "TYP", "ATP"), {"valid": [[1, 2, 3], [0, 0, 0], [4, 5, 6]]}),
}


def test_confusion_matrices_show_counts_coloured_by_the_share_of_their_row() -> None:
    figure = confusion_matrices(Explanation("valid", 15, MATRICES))
    first, second = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["DIAG", "PN"]
    assert texts(first) == ["8", "2", "0", "5"]
    assert np.allclose(first.images[0].get_array(), [[0.8, 0.2], [0, 1]])
    assert [text.get_color() for text in first.texts] == ["white", "black", "black", "white"]
    assert np.allclose(second.images[0].get_array(), [[1 / 6, 1 / 3, 0.5], [0, 0, 0], [4 / 15, 1 / 3, 0.4]])
    assert [label.get_text() for label in second.get_xticklabels()] == ["ABS", "TYP", "ATP"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["ABS", "TYP", "ATP"]
    (position,) = {text.get_position() for text in first.texts if text.get_text() == "2"}
    assert position == (1, 0), "truth goes down, what is said across"
    pngs({"confusion": figure})


def test_confusions_of_eight_tasks_draw_without_a_warning() -> None:
    generator = np.random.default_rng(0)
    tasks = {
        f"task {number}": Confusions(
            tuple(f"a long class name {k}" for k in range(size)), {"valid": generator.integers(0, 99, (size, size)).tolist()}
        )
        for number, size in enumerate((5, 3, 2, 2, 3, 3, 3, 2))
    }
    figure = confusion_matrices(Explanation("valid", 203, tasks))
    assert [axes.get_title() for axes in figure.axes] == list(tasks)
    assert [len(texts(axes)) for axes in figure.axes] == [size**2 for size in (5, 3, 2, 2, 3, 3, 3, 2)]
    pngs({"confusion": figure})


def test_sharing_shows_the_mean_and_every_block_in_percent() -> None:
    blocks = np.array([[[1.0, 0.2], [0.4, 1.0]], [[1.0, 0.6], [0.0, 1.0]]])
    figure = sharing_matrices(Sharing(("DIAG", "PN"), blocks))
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in shown] == ["all blocks", "block 1", "block 2"]
    assert [texts(axes) for axes in shown] == [["100", "40", "20", "100"], ["100", "20", "40", "100"], ["100", "60", "0", "100"]]
    assert np.allclose(shown[0].images[0].get_array(), [[1.0, 0.4], [0.2, 1.0]])
    pngs({"sharing": figure})
    many = np.random.default_rng(0).random((4, 8, 8))
    pngs({"sharing": sharing_matrices(Sharing(tuple(f"task {k}" for k in range(8)), many))})


def a_case(points: Sequence[tuple[float, float]], *, truth: str = "melanoma", structure: str = "lesion") -> SeenCase:
    gazes = tuple(Gaze(np.full((4, 4), 0.1), x, y, structure, 0.75 if structure else 0.0) for x, y in points)
    said = {"melanoma": {"benign": 0.125, "melanoma": 0.875}}
    return SeenCase("ISIC_0000010", np.zeros((32, 32, 3), dtype=np.uint8), "melanoma", said, {"melanoma": truth}, gazes)


def test_gazes_at_one_point_share_a_dot() -> None:
    case = a_case([(0.125, 0.375), (0.125, 0.375), (0.125, 0.375), (0.625, 0.875), (0.375, 0.125)])
    figure = attention_sequences([case])
    first, *maps = figure.axes
    assert {text.get_text(): text.get_position() for text in first.texts} == {
        "1…3": (4.0, 12.0),
        "4": (20.0, 28.0),
        "5": (12.0, 4.0),
    }
    assert first.get_title() == "ISIC_0000010\nsaid: melanoma 0.88, truth: melanoma"
    assert [axes.get_title() for axes in maps] == ["lesion 0.75"] * 5
    assert list(map(float, first.get_lines()[0].get_xdata())) == [4.0, 4.0, 4.0, 20.0, 12.0]
    assert all(axes.images[1].get_extent() == [0, 32, 32, 0] for axes in maps), "the map lies over the whole image"
    pngs({"attention": figure})


def test_a_wrong_diagnosis_has_another_colour() -> None:
    right, wrong = a_case([(0.5, 0.5)]), a_case([(0.5, 0.5)], truth="benign", structure="")
    figure = attention_sequences([right, wrong])
    titles = [figure.axes[index].title for index in (0, 2)]
    assert titles[0].get_color() != titles[1].get_color()
    assert figure.axes[3].get_title() == "", "nothing is said without a decoder"
    pngs({"attention": figure})


def test_pictures_of_a_trial_are_those_that_there_is_something_for() -> None:
    trial = state_after(PLAN, a_trial(0, 3)).trials["t0"]
    sharing = Sharing(("DIAG", "PN"), np.ones((1, 2, 2)))
    whole = Explanation("valid", 15, MATRICES, sharing, (a_case([(0.5, 0.5)]),))
    assert set(pictures_of_trial(PLAN, trial, whole)) == {"learning_curves", "confusion", "sharing", "attention"}
    assert set(pictures_of_trial(PLAN, trial, replace(whole, sharing=None, cases=()))) == {"learning_curves", "confusion"}
    assert set(pictures_of_trial(PLAN, trial, Explanation("valid", 0))) == {"learning_curves"}


def test_a_table_without_a_trial_that_ranks_has_no_importance() -> None:
    assert importance_of(PLAN, SearchState(PLAN.objective)) is None


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_confirmations_plot_keeps_its_legend_however_few_its_rows(count: int) -> None:
    figure = figures.forest([("t0", 0.85, 0.8, (0.7, 0.9))] * count, "valid/auroc_mean (max)")
    figure.draw_without_rendering()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["confirmed, 95 % interval", "in the search"]
    boxes = [*written(figure), figure.legends[0].get_window_extent()]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width and box.y0 >= 0 and box.y1 <= figure.bbox.height for box in boxes)
    axes = axes_of(figure).get_window_extent()
    assert figure.legends[0].get_window_extent().y0 >= axes.y1, "above the axes, not on them"
    assert len(axes_of(figure).get_lines()) == 3 * count, "no dot beside those of the rows"


def test_where_nothing_is_known_a_sentence_stands_in_the_place_of_axes() -> None:
    empty = state_after(PLAN, [event_of("search_started", 0.0)])
    for figure in (figures.forest([], "valid/height"), best_so_far(PLAN, empty), rung_survival(PLAN, empty)):
        axes = axes_of(figure)
        assert not axes.axison
        assert texts(axes)[0].startswith("nothing to draw")
