{{/* dagster.yaml: state in PostgreSQL, runs in pods of their own. */}}
{{- define "curate.dagsterYaml" -}}
{{- mergeOverwrite (include "curate.dagsterDefaults" . | fromYaml) (deepCopy .Values.dagster.settings) | toYaml }}
{{- end }}

{{- define "curate.dagsterDefaults" -}}
storage:
  postgres:
    postgres_db:
      scheme: postgresql+psycopg2 # with SQLAlchemy 2.1, `postgresql` alone means another driver
      hostname: {{ .Values.database.host | quote }}
      port: {{ .Values.database.port }}
      db_name: {{ .Values.database.name | quote }}
      username: {{ .Values.database.username | quote }}
      password: {env: DAGSTER_POSTGRES_PASSWORD}
      {{- with .Values.database.parameters }}
      params:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- with .Values.dagster.computeLogs }}
{{- if .bucket }}
compute_logs:
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
  config:
    bucket: {{ .bucket | quote }}
    prefix: {{ .prefix | quote }}
    skip_empty_files: true
    upload_interval: 30
{{- end }}
{{- end }}
concurrency:
  runs:
    max_concurrent_runs: {{ .Values.runs.maxConcurrent }}
  pools:
    granularity: run
run_launcher:
  module: dagster_k8s
  class: K8sRunLauncher
  config:
    job_namespace: {{ .Release.Namespace }}
    load_incluster_config: true
    service_account_name: {{ include "curate.account" (list . "run") }}
    instance_config_map: {{ include "curate.fullname" . }}-dagster
    dagster_home: /srv/dagster
    image_pull_policy: {{ .Values.images.pullPolicy }}
    run_k8s_config:
      container_config:
        securityContext:
          {{- toYaml .Values.securityContext.container | nindent 10 }}
        env:
          - {name: HOME, value: /home/curate}
          {{- include "curate.databasePassword" . | nindent 10 }}
        volumeMounts:
          {{- include "curate.scratchMounts" . | nindent 10 }}
          - {name: dagster-home, mountPath: /srv/dagster}
          - {name: dagster, mountPath: /srv/dagster/dagster.yaml, subPath: dagster.yaml}
      pod_spec_config:
        automountServiceAccountToken: {{ eq .Values.ray.mode "kuberay" }}
        enableServiceLinks: false
        securityContext:
          {{- toYaml .Values.securityContext.pod | nindent 10 }}
        volumes:
          {{- include "curate.scratchVolumes" . | nindent 10 }}
          - {name: dagster-home, emptyDir: {}}
          - {name: dagster, configMap: {name: {{ include "curate.fullname" . }}-dagster}}
      pod_template_spec_metadata:
        labels:
          {{- include "curate.podLabels" (list . "run") | nindent 10 }}
      job_spec_config:
        ttlSecondsAfterFinished: {{ .Values.runs.keepSeconds }}
        activeDeadlineSeconds: {{ .Values.runs.deadlineSeconds }}
run_monitoring:
  enabled: true
  poll_interval_seconds: 30
  start_timeout_seconds: {{ .Values.runs.startTimeoutSeconds }}
  cancel_timeout_seconds: 300
  max_resume_run_attempts: 0 # a run that dies is started again instead
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
retention:
  sensor:
    purge_after_days: {skipped: 7, success: 30, failure: 90}
  schedule:
    purge_after_days: 90
telemetry:
  enabled: false
nux:
  enabled: false
{{- end }}

{{/* What the code server tells the run launcher of its runs. */}}
{{- define "curate.containerContext" -}}
k8s:
  service_account_name: {{ include "curate.account" (list . "run") }}
  {{- with include "curate.pullSecrets" . }}
  image_pull_secrets:
    {{- . | nindent 4 }}
  {{- end }}
  run_k8s_config:
    container_config:
      resources:
        {{- include "curate.runResources" . | nindent 8 }}
      env:
        {{- include "curate.dataEnv" . | nindent 8 }}
        {{- if .Values.monitoring.metrics }}
        - {name: CURATE_METRICS_HOST, value: 0.0.0.0}
        - {name: CURATE_METRICS_PORT, value: "9464"}
        {{- end }}
      {{- with include "curate.dataEnvFrom" . }}
      envFrom:
        {{- . | nindent 8 }}
      {{- end }}
      {{- if .Values.monitoring.metrics }}
      ports:
        - {name: metrics, containerPort: 9464}
      {{- end }}
      volumeMounts:
        {{- include "curate.dataMounts" . | nindent 8 }}
        {{- include "curate.computeMounts" . | nindent 8 }}
    pod_spec_config:
      volumes:
        {{- include "curate.dataVolumes" . | nindent 8 }}
        {{- include "curate.computeVolumes" (list . (ternary "4Gi" "64Mi" (eq .Values.ray.mode "local"))) | nindent 8 }}
      {{- with include "curate.scheduling" .Values.runs.scheduling }}
      {{- . | nindent 6 }}
      {{- end }}
    {{- with .Values.runs.annotations }}
    pod_template_spec_metadata:
      annotations:
        {{- toYaml . | nindent 8 }}
    {{- end }}
{{- end }}

{{- define "curate.runResources" -}}
{{- if .Values.runs.resources }}
{{- toYaml .Values.runs.resources }}
{{- else if eq .Values.ray.mode "local" -}}
requests: {cpu: "4", memory: 16Gi}
limits: {memory: 16Gi}
{{- else -}}
requests: {cpu: 250m, memory: 1Gi}
limits: {memory: 4Gi}
{{- end }}
{{- end }}
