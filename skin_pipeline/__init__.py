"""Skin-cancer screening models, from dermoscopic images to a judged release.

Every step is a plain function in `skin_pipeline.steps`. Airflow (`dags/`), the command line
(`python -m skin_pipeline`) and the tests call the same ones; nothing in here imports Airflow.
"""

from skin_pipeline.foreign import guard

__version__ = "0.1.0"

guard(__name__)  # records of every logger in here: one line, and no secrets
