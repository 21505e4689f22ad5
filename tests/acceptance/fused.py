"""What trials as one program must show (issue 9)."""

from shown import script, tested

ISSUE = 9

SHOWS = {
    "fused_equal": tested(
        ISSUE,
        "2, 5, 16 fused trials equal the trials alone over 20 steps; whoever leaves, joins or diverges changes no other",
        {},
        "-m",
        "slow or not slow",
        "tests/models/test_fused_gated_network.py",
        "tests/trainables/test_step_together.py",
    ),
    "fused_search": tested(
        ISSUE,
        "a search with --fuse-trials 8 and one without, float64, 40 steps: the same trials, values to 1e-8, clean by doctor, killed"
        " and resumed as well; members' failures, a worker's death, every scheduler",
        {},
        "tests/end_to_end/test_fused_search.py",
    ),
    "fused_decisions": tested(
        ISSUE,
        "under the simulated clock ASHA decides of fused trials as it decides of trials alone",
        {},
        "-m",
        "slow or not slow",
        "tests/search/test_worker_pool.py",
        "tests/search/test_fusion_size.py",
        "tests/search/test_trial_worker.py",
    ),
    "fused_trials": script(
        ISSUE,
        "trials an hour as one program: 16 fused on a GPU at least 6 times one after another, 8 on a CPU 1.5 times",
        "benchmarks/fused_trials.py",
        lines=12,
    ),
    "fused_attentive": script(
        ISSUE,
        "why attentive trials do not train as one program: operations and arithmetic of a step",
        "benchmarks/kernels_per_step.py",
        lines=5,
    ),
}
