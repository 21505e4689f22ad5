"""What the cluster must show (issue 5)."""

from shown import script, tested

ISSUE = 5

SHOWS = {
    "cluster": tested(
        ISSUE,
        "`ray up` of onprem.yaml on three hosts: searches from elsewhere, both architectures by halves, the head's MLflow page in a"
        " browser, a worker killed, one cut off for 30 s, the driver killed and resumed, strangers kept out",
        {},
        "tests/cluster",
    ),
    "gpu_shares": tested(
        ISSUE,
        "logical GPUs: four trials at 0.5 on two devices, an out-of-memory error retried at a larger share",
        {},
        "tests/end_to_end/test_gpu_shares.py",
    ),
    "object_store": tested(
        ISSUE,
        "an S3 endpoint as storage and as data: killed on one machine, resumed on another",
        {},
        "tests/end_to_end/test_object_store.py",
    ),
    "scale": script(
        ISSUE,
        "1000 slots, 10,000 trials of bowl under simulated time: driver CPU per trial and memory",
        "benchmarks/scale.py",
        lines=6,
    ),
}
