{{/* The files in /etc/curate of pods that reach the data. */}}

{{/* What one worker pod can have: groups that scale from zero show nothing when a plan is checked. */}}
{{- define "curate.clusterSettings" -}}
{{- if eq .Values.ray.mode "kuberay" -}}
{{- $cpus := 0 }}
{{- $gpus := 0 }}
{{- range $name, $group := .Values.ray.groups }}
  {{- $group = mergeOverwrite (deepCopy $.Values.ray.groupDefaults) ($group | default dict) }}
  {{- $cpus = max $cpus $group.cpus }}
  {{- $gpus = max $gpus $group.gpus }}
{{- end -}}
engine:
  kind: ray
cluster:
  mode: kuberay
  namespace: {{ .Release.Namespace }}
  kuberay_template: /etc/curate/cluster.yaml
  capacity_cpus: {{ $cpus }}
  capacity_gpus: {{ $gpus }}
{{- else -}}
cluster:
  mode: local
{{- end }}
{{- end }}

{{- define "curate.files" -}}
curate.yaml: |
  {{- mergeOverwrite (include "curate.clusterSettings" . | fromYaml) (deepCopy .Values.settings) | toYaml | nindent 2 }}
storage.yaml: |
  {{- $scratch := dict "scratch" (dict "folder" "/scratch" "gib" .Values.scratch.gib) }}
  {{- mergeOverwrite $scratch (deepCopy .Values.storage.settings) | toYaml | nindent 2 }}
{{- with .Values.sources }}
sources.yaml: |
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.ray.mode "kuberay" }}
cluster.yaml: |
  {{- include "curate.rayCluster" . | nindent 2 }}
{{- end }}
{{- end }}
