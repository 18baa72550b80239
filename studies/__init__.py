"""Ready-made studies: a `study.yaml` and a `task.py` each."""
