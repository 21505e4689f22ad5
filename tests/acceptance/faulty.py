"""What faults and strangers must show (issue 7) beyond what continuous integration has time for."""

from shown import script, tested, tests

ISSUE = 7
_FAULTS = (
    "test_killed_trial",
    "test_full_disk",
    "test_interruption",
    "test_resumption",
    "test_hanging",
    "test_gpu_shares",
    "test_clock",
)

SHOWS = {
    "faults": tested(
        ISSUE,
        "trials killed, hung, out of memory; a full disk, a clock that jumps, Ctrl-C and SIGTERM: nothing is lost",
        {},
        *(f"tests/end_to_end/{name}.py" for name in _FAULTS),
    ),
    "power_loss": tests(
        ISSUE,
        "power loss before any change of the disk: reopened, nothing acknowledged missing",
        "tests/search/test_power_loss.py",
    ),
    "any_command": tested(
        ISSUE,
        "any command line ends in 0, 1, 2 or 130, never in a traceback",
        {"DERMTUNE_FUZZ_EXAMPLES": "1500"},
        "-m",
        "not slow",
        "tests/search/test_any_command.py",
    ),
    "fuzz": script(
        ISSUE, "readers of data, checkpoints, plans and settings take any bytes, ten minutes each", "tests/fuzz/run.py", lines=11
    ),
    "soak": script(
        ISSUE,
        "an hour of searches with a fault every 20 s: all whole by `doctor`, memory and disk flat, nothing left",
        "tests/end_to_end/soak.py",
    ),
}
