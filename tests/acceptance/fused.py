"""What trials as one program must show (issue 9), as far as there is any of it: an epoch of an array, not yet a search of arrays."""

from shown import script, tested

ISSUE = 9

SHOWS = {
    "fused_equal": tested(
        ISSUE,
        "an array of 2, 5, 16 equals its members alone over 20 steps; whoever leaves, joins or diverges changes no other",
        {},
        "-m",
        "slow or not slow",
        "tests/models/test_gated_array.py",
        "tests/trainables/test_step_together.py",
    ),
    "fused_trials": script(
        ISSUE,
        "trials an hour as one program: an array of 16 on a GPU at least 6 times one after another, one of 8 on a CPU 1.5 times",
        "benchmarks/fused_trials.py",
        lines=12,
    ),
}
