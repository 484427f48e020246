# Airflow with the pipeline, for docker-compose.yaml. Every package is locked and hashed.
ARG PYTHON_IMAGE=python:3.12.13-slim-bookworm@sha256:8a7e7cc04fd3e2bd787f7f24e22d5d119aa590d429b50c95dfe12b3abe52f48b
FROM ${PYTHON_IMAGE}

ENV AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/pipeline/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/pipeline/plugins \
    PYTHONPATH=/opt/pipeline \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /opt/pipeline
COPY requirements.txt requirements-cluster.txt requirements-gpu.txt requirements-openvino.txt ./
# For a GPU requirements-gpu.txt; for OpenVINO on CPUs requirements-openvino.txt; else, since there
# must be one, requirements-cluster.txt again.
ARG MORE_REQUIREMENTS=requirements-cluster.txt
# What is installed is all that there is: no pip is left to add to it.
RUN pip install --require-hashes -r requirements.txt -r requirements-cluster.txt \
      -r ${MORE_REQUIREMENTS} \
    && pip uninstall --yes pip

COPY skin_pipeline skin_pipeline
COPY dags dags
COPY plugins plugins
COPY scripts/forward.py scripts/healthy.py scripts/

# The code is root's and nobody else can change it, whatever modes it had in the checkout. The user
# has a folder for Airflow, and no program that would give it another's rights.
RUN useradd --uid 50000 --home-dir /opt/airflow --shell /usr/sbin/nologin airflow \
    && install --directory --owner=airflow --group=airflow --mode=0700 /opt/airflow \
    && chmod -R u=rwX,go=rX /opt/pipeline \
    && python -m compileall -q /opt/pipeline \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && test -z "$(find / -xdev -type d -perm -0002 ! -perm -1000)"

USER 50000
EXPOSE 8080
CMD ["airflow", "version"]
