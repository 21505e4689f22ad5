"""A search's whole life from Python: run, extended, confirmed and reported, as by the command line."""

from pathlib import Path

import pytest

import search
from search.errors import PlanError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]


def test_a_search_is_run_extended_confirmed_and_reported(tmp_path: Path) -> None:
    storage = str(tmp_path / "my runs")
    first = search.run("bowl", name="first", storage=storage, num_trials=3, max_epochs=4, scheduler="none", pictures=False)
    assert (first.name, first.ended, len(first.trials), len(first.curves)) == ("first", "all trials", 3, 12)
    assert len(first.resume().trials) == 3, "nothing is left to do"
    assert repr(first) == "<search first: 3 trials, all trials>"

    more = search.open("first", storage).resume(num_trials=5, pictures=False)
    assert (len(more.trials), len(more.curves), len(first.trials)) == (5, 20, 3)
    assert more.best is not None

    verdict = more.confirm(top=2, num_seeds=2)
    assert (verdict.search, verdict.name, verdict.num_seeds) == ("first", "first-confirm", 2)
    assert {standing.trial for standing in verdict.standings} <= set(more.trials["trial"])
    assert (tmp_path / "my runs" / "first-confirm" / "confirmation.html").is_file()
    confirmation = search.open("first-confirm", storage)
    assert (confirmation.ended, confirmation.verdict, more.verdict) == ("all trials", verdict, None)
    with pytest.raises(PlanError, match="max_concurrent must be 1 or more; got 0"):
        more.resume(max_concurrent=0)

    page = more.report(tmp_path / "page.html")
    assert page == tmp_path / "page.html"
    assert more.best.trial in page.read_text()
    with pytest.raises(PlanError, match="NAME must be a search; got 'first-confirm', which is a confirmation"):
        search.open("first-confirm", storage).confirm()
