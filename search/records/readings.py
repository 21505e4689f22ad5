"""How often the test split was read: every reading spends a little of what it is worth."""

import json
from datetime import UTC, datetime
from pathlib import Path

from trainables.data import without_group


def record_reading(storage: Path, checkpoint_sha256: str, source: str) -> int:
    """Notes one reading of the test split.

    Args:    storage: folder of all searches.
             checkpoint_sha256: of the checkpoint that was evaluated.
             source: `FORMAT:PATH`; whose the cases are makes no other test split of it.
    Returns: readings of this data's test split so far, this one included.
    """
    file = storage / "test_readings.jsonl"
    storage.mkdir(parents=True, exist_ok=True)
    source = without_group(source)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with file.open("a") as lines:
        lines.write(json.dumps({"time": now, "checkpoint": checkpoint_sha256, "source": source}) + "\n")
    return sum(json.loads(line)["source"] == source for line in file.read_text().splitlines())
