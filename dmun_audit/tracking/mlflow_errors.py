"""Why MLflow did not take an audit, and what a user does about it. MLflow's own advice follows its place: a server, a database, a folder."""

from __future__ import annotations

from dmun_audit.tracking.names import MLFLOW

AGAIN = "and repeat: no audit is logged twice"
FOLDERS_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

_SERVER_REMEDIES = {
    "UNAUTHENTICATED": "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD,",
    "PERMISSION_DENIED": "ask for the right to write to this experiment, or name another one with --project,",
    "ENDPOINT_NOT_FOUND": "check that MLFLOW_TRACKING_URI is the address of an MLflow server,",
}
"""For MLflow's code of an error of a server: what to do."""


def explained(error: Exception) -> tuple[str, str]:
    """What MLflow says, after a sentence on a variable that is not set; and what to do."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, ImportError):
        return said, f"pip install 'dmun_audit[{MLFLOW}]', {AGAIN}"
    from mlflow.tracking import get_tracking_uri, is_tracking_uri_set

    place = str(get_tracking_uri())
    if not is_tracking_uri_set():
        said = f"MLFLOW_TRACKING_URI is not set, so MLflow chose {place}. {said}"
        return said, f"set MLFLOW_TRACKING_URI to the address of your MLflow server, {AGAIN}"
    return said, f"{_remedy(error, place)} {AGAIN}"


def _remedy(error: Exception, place: str) -> str:
    scheme = place.partition(":")[0].partition("+")[0].lower() if ":" in place else ""
    if FOLDERS_ALLOWED in str(error):
        return f"set {FOLDERS_ALLOWED}=true, or MLFLOW_TRACKING_URI to the address of an MLflow server,"
    if scheme in ("", "file"):
        return "check that the folder in MLFLOW_TRACKING_URI can be written,"
    if scheme in ("http", "https"):
        code = getattr(error, "error_code", "")
        return _SERVER_REMEDIES.get(code, "check that the MLflow server in MLFLOW_TRACKING_URI is up and can be reached,")
    if scheme in DATABASES:
        return "pip install mlflow, which opens databases, or set MLFLOW_TRACKING_URI to the address of an MLflow server,"
    if scheme.startswith("databricks"):
        return "log in to Databricks as MLflow says,"
    return "set MLFLOW_TRACKING_URI to the address of your MLflow server, such as https://mlflow.example.com,"
