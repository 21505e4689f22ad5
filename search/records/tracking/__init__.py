"""MLflow, the only room that imports it."""

import os

# Before MLflow is imported: it does not phone home about other people's patients, and it unpickles nothing.
for _name, _value in {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}.items():
    os.environ.setdefault(_name, _value)
