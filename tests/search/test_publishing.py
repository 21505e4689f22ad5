"""What `register` says to type next."""

import re
import shlex
from pathlib import Path

from search.cli.machine import ui
from search.cli.publishing import serve_command


def test_a_model_is_served_beside_the_page_and_on_the_readmes_port() -> None:
    line = serve_command("sqlite:////a folder/mlflow.db", "models:/lesions@champion")
    variable, *command = shlex.split(line)
    assert variable == "MLFLOW_TRACKING_URI=sqlite:////a folder/mlflow.db"
    (port,) = (parameter.default for parameter in ui.params if parameter.name == "port")
    assert int(command[-1]) != port
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert " ".join(command) in readme
    assert set(re.findall(r"http://127\.0\.0\.1:(\d+)/invocations", readme)) == {command[-1]}
