"""The README's commands run, in its order, on small data; searches are cut short by flags added at their end."""

import re
import shlex
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from commands import Here, Shell

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
SHORT = {
    "gated": ["--trials", "2", "--max-epochs", "2", "--set", "size_px=96", "--set", "batches_per_epoch=1"],
    "attentive": [
        *("--trials", "2", "--max-epochs", "2", "--set", "size_px=32", "--set", "crop_from_px=40", "--set", "width=0.125"),
        *("--set", "encoder_weights=none"),
    ],
}


def commands() -> list[str]:
    """Every line of the README's code blocks."""
    blocks = re.findall(r"^```\n(.*?)^```", (REPOSITORY / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def write_lesions(folder: Path) -> None:
    """`lesions.csv` over the synthetic set's images, and `metadata.csv` as others have theirs."""
    meta = pd.read_csv(folder / "release_v0" / "meta" / "meta.csv")
    table = pd.DataFrame(
        {
            "image": "release_v0/images/" + meta["derm"],
            "split": ["train", "train", "valid"] * (len(meta) // 3),
            "diagnosis": meta["diagnosis"].str.startswith("melanoma").map({True: "melanoma", False: "other"}),
            "veil": meta["blue_whitish_veil"],
        }
    )
    table.to_csv(folder / "lesions.csv", index=False)
    others = {"image_id": meta["derm"].map(lambda name: Path(name).stem), "age": range(len(meta)), "comment": meta["derm"]}
    table.drop(columns="image").assign(**others).to_csv(folder / "metadata.csv", index=False)
    (folder / "lesion.jpg").write_bytes((folder / table["image"][0]).read_bytes())


def test_every_command_of_the_readme_runs(here: Here, shell: Shell, eventually: Callable[..., None]) -> None:
    assert here.run("data", "synth", "derm7pt", "release_v0", "--cases", "60", "--size", "96").status == 0
    assert here.run("data", "synth", "isic2017", "isic2017", "--cases", "40", "--size", "48").status == 0
    write_lesions(here.folder)
    lines = commands()
    assert lines[:2] == ["make demo", "make test"]
    ran, trial = 0, ""
    for line in lines[2:]:
        program, *arguments = shlex.split(line.replace("TRIAL", trial))
        assert program == "dermtune", line
        if arguments[0] == "ui":
            serves(shell, eventually)
            continue
        if arguments[0] == "reproduce":
            arguments += ["--seeds", "1", "--only", "half", "--max-epochs", "1", "--set", "size_px=96"]
        if arguments[0] == "search":
            short = SHORT.get(arguments[1], ["--trials", "2"])
            arguments += short if "size_px=128" not in arguments else [*short[:4], *short[6:]]
            # Its report and its models come from commands of their own, below.
            arguments.append("--no-pictures")
        # The first as a person starts it, the others here: they import nothing anew, and find Ray running.
        done = shell.run(*arguments, fresh=True) if ran == 0 else here.run(*arguments)
        assert done.status == 0, f"{line}\n{done.err}"
        assert "Traceback" not in done.err
        if arguments[0] == "best":
            trial = next(path.name for path in (here.folder / "winner").iterdir())
        ran += 1
    assert ran >= 14


def serves(shell: Shell, eventually: Callable[..., None]) -> None:
    """`dermtune ui` answers on a free port of the loopback address, and only there."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shell.start("ui", "--port", str(port))

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    eventually(answers, "MLflow's page")


def test_every_file_that_the_readme_links_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (REPOSITORY / "README.md").read_text())
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
