{{/* What cannot be left out, each with its remedy. */}}
{{- define "curate.validate" -}}
{{- $missing := list }}
{{- if not .Values.root }}
  {{- $missing = append $missing "root: where tables and media lie, such as s3://bucket/curate" }}
{{- end }}
{{- if not (or .Values.images.registry .Values.images.mirror) }}
  {{- $missing = append $missing "images.registry: where this project's images are, such as registry.example.org/video (`curate image push`)" }}
{{- end }}
{{- if .Values.dagster.enabled }}
  {{- if not .Values.database.host }}
    {{- $missing = append $missing "database.host: the PostgreSQL server with Dagster's state" }}
  {{- end }}
  {{- if not (or .Values.database.secretName .Values.database.password) }}
    {{- $missing = append $missing "database.secretName: the secret with the database's password" }}
  {{- end }}
  {{- if and .Values.oauth2Proxy.enabled (not .Values.oauth2Proxy.secretName) }}
    {{- $missing = append $missing "oauth2Proxy.secretName: the secret with client-id, client-secret and cookie-secret" }}
  {{- end }}
{{- end }}
{{- if $missing }}
  {{- fail (printf "\n\nThese values are not set:\n  %s\n" (join "\n  " $missing)) }}
{{- end }}
{{- if and (eq .Values.ray.mode "kuberay") (not .Values.ray.groups) }}
  {{- fail "\n\nray.groups: there is none, so nothing could compute\n" }}
{{- end }}
{{- if and .Values.ray.queue (or (gt (len .Values.ray.groups) 7) (hasKey .Values.ray.groups "head")) }}
  {{- fail "\n\nray.groups: with ray.queue, Kueue takes at most seven, and none named head\n" }}
{{- end }}
{{- end }}
