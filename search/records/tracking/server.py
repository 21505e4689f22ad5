"""MLflow's web page on the store in use."""

import subprocess
import sys


def serve(uri: str, host: str, port: int) -> int:
    """Runs `mlflow server` in the foreground until it is interrupted.

    Args:    uri: of the tracking store.
             host: to bind; 127.0.0.1 lets nobody else in.
             port: to bind.
    Returns: the server's exit status; 0 after Ctrl-C.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--host", host, "--port", str(port)]
    with subprocess.Popen(command) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:
            server.terminate()
            server.wait()
            return 0
