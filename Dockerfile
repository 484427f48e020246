# Airflow with the pipeline, for docker-compose.yaml. Every package is locked and hashed.
FROM python:3.12-slim

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/pipeline/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/pipeline/plugins \
    PYTHONPATH=/opt/pipeline \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

RUN useradd --uid 50000 --home-dir /opt/airflow --create-home airflow \
    && mkdir /opt/airflow/logs && chown airflow /opt/airflow/logs

WORKDIR /opt/pipeline
COPY requirements.txt requirements-cluster.txt ./
RUN pip install --require-hashes -r requirements.txt -r requirements-cluster.txt

COPY skin_pipeline skin_pipeline
COPY dags dags
COPY plugins plugins

USER airflow
EXPOSE 8080
CMD ["airflow", "version"]
