{{/* Names. Objects append at most 13 characters, and names of Kubernetes have at most 63. */}}
{{- define "curate.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "curate.fullname" -}}
{{- $name := include "curate.name" . }}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $whole | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* The release's name as a label's value. */}}
{{- define "curate.release" -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels of every object. */}}
{{- define "curate.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | quote }}
app.kubernetes.io/name: {{ include "curate.name" . | quote }}
app.kubernetes.io/instance: {{ include "curate.release" . | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* What pods of a role are found by: call with (list . "webserver"). Runs and Ray's pods have these labels, too. */}}
{{- define "curate.selector" -}}
curate-graph/release: {{ include "curate.release" (first .) | quote }}
curate-graph/role: {{ last . | quote }}
{{- end }}

{{- define "curate.podLabels" -}}
{{ include "curate.selector" . }}
{{- with (first .).Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Metadata of an object: (list . "suffix" "role or nothing"). */}}
{{- define "curate.metadata" -}}
{{- $ := first . -}}
name: {{ include "curate.fullname" $ }}{{ with index . 1 }}-{{ . }}{{ end }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "curate.labels" $ | nindent 2 }}
  {{- with index . 2 }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
{{- end }}

{{/* An image by its key in `images`: (list . "control"). */}}
{{- define "curate.image" -}}
{{- $ := first . }}
{{- $image := index $.Values.images (last .) }}
{{- $registry := $.Values.images.mirror | default $image.registry | default $.Values.images.registry }}
{{- $suffix := ternary (printf "@%s" $image.digest) (printf ":%s" ($image.tag | default $.Chart.AppVersion)) (ne $image.digest "") }}
{{- printf "%s/%s%s" (trimSuffix "/" $registry) $image.repository $suffix }}
{{- end }}

{{/* The image that runs are in: what computes needs the worker's packages. */}}
{{- define "curate.runImage" -}}
{{- include "curate.image" (list . (ternary "worker" "control" (eq .Values.ray.mode "local"))) }}
{{- end }}

{{- define "curate.pullSecrets" -}}
{{- range .Values.images.pullSecrets }}
- name: {{ . }}
{{- end }}
{{- end }}

{{/* Account of a role's pods: (list . "run"). Web server and daemon have the one without suffix. */}}
{{- define "curate.account" -}}
{{ include "curate.fullname" (first .) }}{{ with last . }}-{{ . }}{{ end }}
{{- end }}

{{/* Node selector, tolerations, affinity and priority class from a mapping that has them. */}}
{{- define "curate.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* What the pod of a component is, without its containers: (list . "account" token? scheduling). */}}
{{- define "curate.pod" -}}
{{- $ := first . -}}
serviceAccountName: {{ index . 1 }}
automountServiceAccountToken: {{ index . 2 }}
enableServiceLinks: false
securityContext:
  {{- toYaml $.Values.securityContext.pod | nindent 2 }}
{{- with include "curate.pullSecrets" $ }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with include "curate.scheduling" (index . 3) }}
{{ . }}
{{- end }}
{{- end }}

{{/* Changes with what pods read at their start. */}}
{{- define "curate.checksum" -}}
checksum/settings: {{ print (include "curate.files" .) (include "curate.dagsterYaml" .) | sha256sum }}
{{- end }}
