"""Finished audits in experiment trackers. Only `mlflow_tracker` imports MLflow, and only `wandb_tracker` imports wandb."""
