{{/* Environment, volumes and mounts of pods. Root file systems are read-only: /tmp, HOME and DAGSTER_HOME are volumes. */}}

{{- define "curate.databasePassword" -}}
- name: DAGSTER_POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.secretName | default (printf "%s-database" (include "curate.fullname" .)) }}
      key: {{ .Values.database.secretKey }}
{{- end }}

{{/* Of Dagster's own pods. */}}
{{- define "curate.dagsterEnv" -}}
- {name: HOME, value: /home/curate}
- {name: DAGSTER_HOME, value: /srv/dagster}
{{ include "curate.databasePassword" . }}
{{- end }}

{{/* Of pods that reach the data. */}}
{{- define "curate.dataEnv" -}}
- {name: CURATE_ROOT, value: {{ .Values.root | quote }}}
- {name: CURATE_CONFIG, value: /etc/curate/curate.yaml}
- {name: CURATE_STORAGE, value: /etc/curate/storage.yaml}
{{- if .Values.sources }}
- {name: CURATE_SOURCES, value: /etc/curate/sources.yaml}
{{- end }}
{{- with .Values.graph }}
- {name: CURATE_GRAPH, value: {{ . | quote }}}
{{- end }}
- {name: CURATE_MODELS, value: /models}
{{- with .Values.monitoring.tracesEndpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- if .Values.monitoring.jsonLogs }}
- {name: CURATE_LOG_FORMAT, value: json}
{{- end }}
{{- range $name, $value := .Values.environment.variables }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "curate.dataEnvFrom" -}}
{{- range .Values.environment.secrets }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end }}

{{/* Where steps' output is in a bucket, the web server and the daemon read and write it. */}}
{{- define "curate.logsEnvFrom" -}}
{{- if .Values.dagster.computeLogs.bucket }}
{{- include "curate.dataEnvFrom" . }}
{{- end }}
{{- end }}

{{- define "curate.logsEnv" -}}
{{- if .Values.dagster.computeLogs.bucket }}
{{- range $name, $value := .Values.environment.variables }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "curate.scratchVolumes" -}}
- {name: tmp, emptyDir: {}}
- {name: home, emptyDir: {}}
{{- end }}

{{- define "curate.scratchMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: home, mountPath: /home/curate}
{{- end }}

{{/* Of Dagster's long-lived pods and the migration: (list . "name of the ConfigMap with dagster.yaml"). */}}
{{- define "curate.dagsterVolumes" -}}
{{ include "curate.scratchVolumes" (first .) }}
- {name: dagster-home, emptyDir: {}}
- {name: dagster, configMap: {name: {{ last . }}}}
{{- end }}

{{- define "curate.dagsterMounts" -}}
{{ include "curate.scratchMounts" . }}
- {name: dagster-home, mountPath: /srv/dagster}
- {name: dagster, mountPath: /srv/dagster/dagster.yaml, subPath: dagster.yaml}
{{- end }}

{{/* Of pods that reach the data. */}}
{{- define "curate.dataVolumes" -}}
- {name: settings, configMap: {name: {{ include "curate.fullname" . }}-settings}}
{{- with .Values.storage.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "curate.dataMounts" -}}
- {name: settings, mountPath: /etc/curate}
{{- with .Values.storage.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Of pods that compute: copies of videos, weights, and Ray's object store, of the given size: (list . "8Gi"). */}}
{{- define "curate.computeVolumes" -}}
{{- $ := first . -}}
- name: scratch
  {{- if $.Values.scratch.storageClassName }}
  ephemeral:
    volumeClaimTemplate:
      spec:
        accessModes: [ReadWriteOnce]
        storageClassName: {{ $.Values.scratch.storageClassName }}
        resources: {requests: {storage: {{ add $.Values.scratch.gib 1 }}Gi}}
  {{- else }}
  emptyDir: {sizeLimit: {{ add $.Values.scratch.gib 1 }}Gi}
  {{- end }}
- name: models
  {{- with $.Values.models.cache }}
  {{- if eq .kind "claim" }}
  persistentVolumeClaim: {claimName: {{ .existingClaim | default (printf "%s-models" (include "curate.fullname" $)) }}}
  {{- else if eq .kind "nodePath" }}
  hostPath: {path: {{ required "models.cache.nodePath: the nodes' folder for weights is not set" .nodePath }}, type: DirectoryOrCreate}
  {{- else }}
  emptyDir: {}
  {{- end }}
  {{- end }}
- {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: {{ last . }}}}
{{- end }}

{{- define "curate.computeMounts" -}}
- {name: scratch, mountPath: /scratch}
- {name: models, mountPath: /models}
- {name: shared-memory, mountPath: /dev/shm}
{{- end }}
