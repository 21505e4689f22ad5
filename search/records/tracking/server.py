"""MLflow's web page on the store in use."""

import os
import sys
from typing import NoReturn


def serve(uri: str, host: str, port: int) -> NoReturn:
    """Becomes `mlflow server`: Ctrl-C and every other signal reach it, and nothing of ours is left beside it.

    Args:    uri: of the tracking store; by the environment, so that credentials in it are in no process list.
             host: to bind; 127.0.0.1 lets nobody else in.
             port: to bind.
    """
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)
