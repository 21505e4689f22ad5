"""What a search was asked to do: everything that the report must tell, by hand."""

from dataclasses import replace

from bowl_events import begun, epoch_of, event_of, plan_of, reported, state_after

from search.analysis.asked import asked_text, confirmed_text
from search.analysis.leaderboard import RecordedSearch
from search.records.constraints import Constraint
from search.records.description import short_value, trial_page
from search.records.folder import SearchFolder
from search.records.plan import Candidate, Confirmation, Plan
from trainables.contract import Objective

ENVIRONMENT = {"host": "desk", "cpus": "8", "dermtune": "1.2", "python": "3.11", "torch": "2.14", "ray": "2.60", "mlflow": "3.17"}
EVENTS = [
    event_of("search_started", 0.0, environment=ENVIRONMENT),
    *begun("t0", 1.0),
    reported("t0", 2.0, *(epoch_of(epoch, 1.0, 1.0, True, cost=2.0) for epoch in (1, 2, 3))),
    *begun("t1", 1.0),
    reported("t1", 2.0, *(epoch_of(epoch, 3.0, 3.0, True, cost=1.0) for epoch in (1, 2, 3))),
]
BOWL = plan_of(num_trials=30, max_epochs=27, seed=7)
PLAN = replace(
    BOWL,
    fixed={**{name: value for name, value in BOWL.fixed.items() if name != "x"}, "y": 0.25, "shape": "round"},
    further_objectives=(Objective("valid/cost", "min"),),
    constraints=(Constraint("valid/cost", "<=", 1.5),),
    space={"rate": "log:0.1..1"},
    warm_start=("earlier", "another"),
    time_budget_s=7200.0,
    epoch_budget=400,
    source="table:/data/lesions.csv",
    data_fingerprint="0123456789abcdef",
    num_cases={"train": 41, "valid": 20, "test": 39},
    code_version="feed",
)


def told(plan: Plan) -> str:
    folder = SearchFolder.__new__(SearchFolder)  # nothing of it is read here
    return asked_text(RecordedSearch(folder, plan, state_after(plan, EVENTS)), EVENTS)


def test_everything_that_one_needs_to_repeat_a_search_is_told() -> None:
    text = told(PLAN)
    for line in (
        "| ranks trials | mean of the last three validations of valid/height (min) |",
        "| searched for beside it | valid/cost (min) |",
        "| limit | valid/cost<=1.5: kept by 1 of 2 trials |",
        "| sampler | tpe |",
        "| scheduler | asha, grace period 1, reduction 3: rungs at epochs 1, 3, 9 |",
        "| starts from | earlier, another |",
        "| seed | 7; trial i trains with seed 7 + i |",
        "| budget | 30 trials of at most 27 epochs, 7200 s, 400 epochs in all |",
        "| data | table:/data/lesions.csv |",
        "| fingerprint of the data | 0123456789abcdef |",
        "| cases | 41 train, 20 valid, 39 test |",
        "| versions | dermtune 1.2, python 3.11, torch 2.14, ray 2.60, mlflow 3.17 |",
        "| digest of dermtune's code | feed |",
        "| driver | desk (8 CPUs) |",
        "| trials ran on | here |",
        "| rate | log:0.1..1 | log:0.05..1 | 0.3 |  |",
        "| y | **0.25** | 0 |",
    ):
        assert line in text, line
    assert "The others of these are the paper's: " in text
    assert "shape" in text[text.index("The others of these") :]


def test_a_search_without_data_limits_or_scheduler_says_no_more_than_there_is() -> None:
    text = told(replace(BOWL, scheduler="none", gpus_per_trial=None))
    assert "| scheduler | none: nothing is stopped early |" in text
    assert "| data | none |" in text
    assert "| each trial has | CPUs: 1, GPUs: as measured, 4 at once |" in text
    assert "limit" not in text
    assert "starts from" not in text
    assert "All of these are the paper's: " in text


def test_what_a_resumed_search_ran_with_later_is_told_too() -> None:
    later = event_of("search_resumed", 9.0, environment={**ENVIRONMENT, "torch": "2.15"})
    folder = SearchFolder.__new__(SearchFolder)
    text = asked_text(RecordedSearch(folder, PLAN, state_after(PLAN, EVENTS)), [*EVENTS, later])
    assert "torch 2.14, ray 2.60, mlflow 3.17; then dermtune 1.2, python 3.11, torch 2.15" in text


def test_a_narrowed_range_and_a_fixed_field_do_not_pass_for_the_papers() -> None:
    plan = replace(PLAN, space={"rate": "0.5..0.9"})  # beyond the paper's 0.3: the first trial takes 0.5
    page = trial_page(state_after(plan, EVENTS).trials["t0"], plan, None)
    assert "| rate | 0.3 | 0.3 |" in page, "the paper's value is the paper's, whatever the range"
    events = [event_of("search_started", 0.0), *begun("t0", 1.0, y=0.25)]
    assert "| y (fixed) | **0.25** | 0 |" in trial_page(state_after(PLAN, events).trials["t0"], PLAN, None)


def test_a_confirmation_tells_its_configurations_seeds_data_and_versions() -> None:
    """The page for a paper's supplement said neither what was trained nor on how many cases."""
    configs = [{**BOWL.paper_config, "x": x, "rate": 0.5} for x in (0.25, -1.5)]
    candidates = tuple(Candidate(f"t{number}", config, 3, 0.5) for number, config in enumerate(configs))
    plan = replace(PLAN, name="bowls-confirm", seed=1000007, confirmation=Confirmation("bowls", candidates, 3, 1))
    folder = SearchFolder.__new__(SearchFolder)  # nothing of it is read here
    text = confirmed_text(RecordedSearch(folder, plan, state_after(plan, EVENTS)), EVENTS)
    for line in (
        "| seeds | 1000007 to 1000009, the same for every configuration |",
        "| data | table:/data/lesions.csv |",
        "| cases | 41 train, 20 valid, 39 test |",
        "| versions | dermtune 1.2, python 3.11, torch 2.14, ray 2.60, mlflow 3.17 |",
        "| field | t0 | t1 | paper |",
        f"| x | 0.25 | -1.5 | {short_value(BOWL.paper_config['x'])} |",
        f"| rate | **0.5** | {short_value(BOWL.paper_config['rate'])} |",
        "The others of these are the paper's: ",
    ):
        assert line in text, line
    alone = replace(plan, confirmation=Confirmation("bowls", candidates[:1], 3, 1))
    assert "in which they differ" not in confirmed_text(RecordedSearch(folder, alone, state_after(alone, EVENTS)), EVENTS)
