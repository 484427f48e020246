"""Skin-cancer screening models, from dermoscopic images to a judged release.

Every step is a plain function in `skin_pipeline.steps`. Airflow (`dags/`), the command line
(`python -m skin_pipeline`) and the tests call the same ones; nothing in here imports Airflow.
"""

__version__ = "0.1.0"
