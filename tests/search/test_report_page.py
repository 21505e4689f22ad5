"""The page of a search: it stands alone, has every picture in its place, and takes no name for markup."""

from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, plan_of, reported

from search.analysis import figures
from search.analysis.importance import Importance
from search.analysis.leaderboard import RecordedSearch, open_search
from search.analysis.page import html_page, picture, table, write_page
from search.analysis.report import report_page
from search.analysis.search_figures import pictures_of_search
from search.analysis.trial_figures import pictures_of_trial
from search.cli.main import run
from search.records.events import Event
from search.records.folder import SearchFolder
from search.records.ledger import Ledger
from search.records.plan import Plan
from search.records.tracking.address import default_tracking_uri
from search.records.tracking.mlflow_tracker import MlflowTracker
from search.records.tracking.store import open_client, summary_run, trial_run

PLAN = plan_of(name="by-hand", num_trials=30, max_epochs=3, notes=("few cases",))
#: MLflow warns of itself when it is imported, uses what SQLAlchemy will drop, and leaves its connections to the collector.
MLFLOWS_WARNINGS = pytest.mark.filterwarnings(
    "ignore::UserWarning",
    "ignore::DeprecationWarning",
    "ignore::FutureWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
SCRIPT = "<script>alert(1)</script>"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.text = list[tuple[str, dict[str, str | None]]](), ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def assert_self_contained(page: str) -> None:
    """Nothing is fetched: no script, no style sheet, no picture from elsewhere."""
    elements = Elements(page)
    assert not any(elements.of(tag) for tag in ("script", "iframe", "object", "embed", "base"))
    for tag, attributes in elements.found:
        for name in ("src", "href", "xlink:href", "srcset", "data", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value)
    assert "@import" not in page
    assert "url(http" not in page


def test_a_page_has_its_title_text_and_pictures() -> None:
    text = f"First.\n\n{picture('a_b')}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n{picture('c')}\n"
    page = html_page("bowls & more", text, {"a_b": "<svg id='one'></svg>", "c": figures.img(b"PNG")})
    elements = Elements(page)
    assert page.startswith("<!doctype html>")
    assert [one["aria-label"] for one in elements.of("figure")] == ["a b", "c"]
    assert page.index("First.") < page.index("id='one'") < page.index("<table>") < page.index("data:image/png;base64,UE5H")
    assert "%%" not in page
    assert "<title>bowls &amp; more</title>" in page
    assert (len(elements.of("td")), len(elements.of("th"))) == (2, 2)
    assert_self_contained(page)


@pytest.mark.parametrize("place", ["title", "text", "cell", "code", "bold"])
def test_a_name_is_never_markup(place: str) -> None:
    texts = {"title": "", "text": SCRIPT, "cell": table(["a"], [[SCRIPT]]), "code": f"`{SCRIPT}`", "bold": f"**{SCRIPT}**"}
    page = html_page(SCRIPT if place == "title" else "a page", texts[place], {})
    assert Elements(page).of("script") == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert_self_contained(page)


@pytest.mark.parametrize("name", ['<img src=x onerror="f()">', "<svg onload=f()>", "[x](javascript:f)", "&lt;b&gt;", "<!-- "])
def test_other_tricks_are_text_as_well(name: str) -> None:
    elements = Elements(html_page("a page", f"Best: **{name}**\n\n{table(['trial'], [[name]])}", {}))
    assert not elements.of("img")
    assert not elements.of("svg")
    assert not elements.of("b")
    assert not any("javascript" in str(link.get("href")) for link in elements.of("a"))


def test_a_tables_cells_stay_cells() -> None:
    text = table(("trial", "reason"), [("t0", "a | b"), ("t1", "|")])
    assert text.splitlines() == ["| trial | reason |", "| --- | --- |", "| t0 | a \\| b |", "| t1 | \\| |"]
    page = html_page("a page", text, {})
    assert len(Elements(page).of("td")) == 4
    assert "<td>a | b</td>" in page


def test_headings_are_broken_between_words_and_after_what_parts_a_name_only() -> None:
    page = html_page("a page", table(["configuration", "valid/gates/a_b [95 %]", "`x/y`"], [["valid/a_b", "1", "2"]]), {})
    assert "<th>configuration</th>" in page
    assert "<th>valid/<wbr>gates/<wbr>a_<wbr>b [95 %]</th>" in page
    assert "<th><code>x/<wbr>y</code></th>" in page
    assert "<td>valid/a_b</td>" in page
    assert "overflow-wrap: anywhere" not in page


def test_a_page_is_written_as_markdown_and_as_html(tmp_path: Path) -> None:
    text = f"Before.\n\n{picture('confirmation')}\n\nAfter."
    write_page(tmp_path / "confirmation", "a title", text, "<svg></svg>", b"PNG")
    assert (tmp_path / "confirmation.md").read_text() == "# a title\n\nBefore.\n\n![](confirmation.png)\n\nAfter.\n"
    assert (tmp_path / "confirmation.png").read_bytes() == b"PNG"
    page = (tmp_path / "confirmation.html").read_text()
    assert "<svg></svg>" in page
    assert_self_contained(page)


def a_trial(number: int, x: float, end: str = "finished", reason: str = "max_epochs") -> list[Event]:
    name, begin = f"t{number:02d}", float(10 * number)
    epochs = [epoch_of(epoch, 2 + x, 2 + x, True, gain=x) for epoch in (1, 2, 3)]
    path = f"trials/{name}/best-00003"
    return [
        *begun(name, begin, x=x),
        reported(name, begin + 1, *epochs),
        event_of("checkpointed", begin + 2, trial=name, epoch=3, path=path, sha256="ab" * 32),
        event_of(end, begin + 3, trial=name, reason=reason),
    ]


EVENTS = [
    event_of("search_started", 0.0),
    event_of("noted", 0.5, text=f"a note of {SCRIPT}"),
    *a_trial(1, 0.5),
    *a_trial(2, -0.75, end="stopped", reason="rung 1"),
    *a_trial(3, 0.25, end="failed", reason=f"ValueError: {SCRIPT} | or"),
    event_of("checkpoint_deleted", 50.0, trial="t01", path="trials/t01/best-00003"),
    event_of("search_ended", 60.0, reason="all trials ended"),
]


def recorded(storage: Path, events: Sequence[Event] = EVENTS, plan: Plan = PLAN) -> RecordedSearch:
    """A search on disk, as if it had run."""
    folder = SearchFolder(storage, plan.name)
    folder.create(plan).release()
    with Ledger(folder.ledger_file) as ledger:
        ledger._write(events)
    return open_search(storage, plan.name)


def page_of(found: RecordedSearch) -> str:
    """The page with its pictures."""
    search = pictures_of_search(found.plan, found.state, None)
    trial = found.state.trials["t02"]
    pngs = {name: figures.img(figures.png(one)) for name, one in pictures_of_trial(found.plan, trial, None).items()}
    return report_page(found, {name: figures.svg(figure) for name, figure in search.items()}, {"t02": pngs})


def test_the_page_of_a_search_stands_alone_and_is_whole(tmp_path: Path) -> None:
    page = page_of(recorded(tmp_path / "my runs"))
    assert_self_contained(page)
    elements = Elements(page)
    assert [one["aria-label"] for one in elements.of("figure")] == [
        "search-best so far",
        "search-rung survival",
        "search-parallel coordinates",
        "search-slices",
        "t02-learning curves",
    ]
    assert (len(elements.of("svg")), len(elements.of("img"))) == (4, 1)
    assert "%%" not in page
    assert "by-hand: bowl" in elements.text
    assert "Best: t02, score 1.2500, value 1.2500 at epoch 3." in elements.text
    assert "have not been confirmed on fresh seeds" in elements.text
    assert "few cases" in elements.text
    assert elements.of("script") == []
    assert elements.text.count(SCRIPT) == 2, "the note, and the reason in the leaderboard, are text"
    rows = page[page.index("Leaderboard") :].split("<tr>")[2:5]
    assert [row.split("<td>")[1].partition("<")[0] for row in rows] == ["t02", "t01", "t03"]
    assert "<td>stopped (rung 1)</td>" in rows[0]


def test_a_long_leaderboard_is_cut_and_says_so(tmp_path: Path) -> None:
    events = [EVENTS[0], *(one for number in range(1, 26) for one in a_trial(number, number / 100))]
    events[-1:] = []
    found = recorded(tmp_path, events)
    page = report_page(found, {}, {})
    leaders = page[page.index("Leaderboard") :]
    assert leaders.count("<td>t") == 20
    assert "… and 5 more (<code>dermtune show by-hand</code>)." in page


def test_the_page_says_below_the_importance_when_nothing_stands_out(tmp_path: Path) -> None:
    found, pictures = (
        recorded(tmp_path),
        {"rung_survival": "<i>rungs</i>", "importance": "<i>bars</i>", "slices": "<i>slices</i>"},
    )
    noise = Importance(30, {"x": 0.3}, {"x": 0.4})
    page = report_page(found, pictures, {}, importance=noise)
    assert page.index("<i>bars</i>") < page.index("apart from chance with 30 trials") < page.index("<i>slices</i>")
    assert "from chance" not in report_page(found, pictures, {}, importance=replace(noise, noise={"x": 0.2}))


@MLFLOWS_WARNINGS
def test_a_search_is_published_to_its_folder_and_its_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = tmp_path / "my runs"
    from search.analysis.publication import publish

    uri, found = default_tracking_uri(storage), recorded(storage)
    tracker = MlflowTracker(uri, PLAN, storage, {})
    for one in EVENTS:
        tracker.on_event(one)
    tracker.start()
    assert tracker.close() is None
    steps: list[tuple[int, int]] = []
    result = publish(found, uri, progress=lambda done, total: steps.append((done, total)))
    assert (result.problems, result.models) == ([], {})
    assert result.page == storage / "by-hand" / "report.html"
    assert_self_contained(result.page.read_text())
    assert steps == [(done, 4) for done in (1, 2, 3, 4)], "one trial has kept its checkpoint"
    client = open_client(uri)
    experiment = client.get_experiment_by_name("by-hand").experiment_id
    assert run(["report", "by-hand", "--storage", str(storage), "--tracking-uri", uri]) == 0
    assert capsys.readouterr().err.splitlines() == ["drawing pictures…", "logging pictures…"], "there is no terminal"
    places = {}
    for name, run_id in {"search": summary_run(client, experiment), "t02": trial_run(client, experiment, "t02")}.items():
        assert run_id is not None
        folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://").replace("%20", " "))
        places[name] = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    pictures = {f"pictures/{name}.png" for name in ("best_so_far", "rung_survival", "parallel_coordinates", "slices")}
    assert places == {"search": {"plan.json", "report.html", *pictures}, "t02": {"pictures/learning_curves.png"}}


@MLFLOWS_WARNINGS
def test_a_search_that_mlflow_does_not_know_is_published_to_its_folder_all_the_same(tmp_path: Path) -> None:
    from search.analysis.publication import publish

    found = recorded(tmp_path / "my runs", plan=replace(PLAN, name="alone"))
    (tmp_path / "mlflow.db").write_text("no database, though it stands where one is looked for" * 20)
    result = publish(found, f"sqlite:///{tmp_path / 'mlflow.db'}", page=tmp_path / "a page" / "report.html")
    assert result.page == tmp_path / "a page" / "report.html"
    assert_self_contained(result.page.read_text())
    (problem,) = result.problems
    assert problem.startswith("MLflow did not take all pictures and models: --tracking-uri must be a store")
