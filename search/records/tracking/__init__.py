"""MLflow, the only room that imports it."""

import os

from search.records.proxies import reach_this_machine_directly

# Before MLflow is imported: it does not phone home about other people's patients, and it unpickles nothing. Its own retries
# would make a run twice and keep a search waiting for minutes; the tracker asks again itself.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Stdout is for results.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
reach_this_machine_directly()
