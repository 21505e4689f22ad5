"""MLflow's web page on the store in use."""

import os
import signal
import sys
from typing import NoReturn

#: One person looks at runs: no job executors, nothing about its own insides on the terminal.
_QUIET = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PYTHONWARNINGS": "ignore",
}


def serve(uri: str, host: str, port: int) -> NoReturn:
    """Becomes `mlflow server`: Ctrl-C and every other signal reach it, and nothing of ours is left beside it.

    Args:    uri: of the tracking store; by the environment, so that credentials in it are in no process list.
             host: to bind; 127.0.0.1 lets nobody else in.
             port: to bind.
    """
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--uvicorn-opts", "--log-level critical"]
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(sys.executable, command)
