{{/* The RayCluster that the run of a plan makes for itself (`cluster.kuberay_template`). */}}

{{- define "curate.rayEnv" -}}
- {name: HOME, value: /home/curate}
{{ include "curate.dataEnv" . }}
{{- end }}

{{/* Requests equal limits, so that a pod gets what Ray counts on: a group's mapping. */}}
{{- define "curate.rayResources" -}}
{{- $own := dict "cpu" (toString .cpus) "memory" .memory }}
{{- if .gpus }}
  {{- $_ := set $own .gpuResource (toString .gpus) }}
{{- end }}
{{- dict "requests" $own "limits" $own | toYaml }}
{{- end }}

{{- define "curate.rayTolerations" -}}
{{- $own := list }}
{{- if .gpus }}
  {{- $own = list (dict "key" .gpuResource "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- concat $own .tolerations | toYaml }}
{{- end }}

{{/* Kueue refuses clusters that scale: with a queue, they have all of their pods from the start. */}}
{{- define "curate.rayCluster" -}}
{{- $scales := not .Values.ray.queue }}
apiVersion: ray.io/v1
kind: RayCluster
metadata:
  name: {{ include "curate.fullname" . }}
  labels: # the RayJob's
    curate-graph/release: {{ include "curate.release" . | quote }}
    {{- with .Values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- with .Values.ray.queue }}
    kueue.x-k8s.io/queue-name: {{ . }}
    {{- end }}
spec:
  rayVersion: {{ .Values.ray.version | quote }}
  enableInTreeAutoscaling: {{ $scales }}
  {{- if $scales }}
  autoscalerOptions:
    version: v2
    idleTimeoutSeconds: {{ .Values.ray.idleSeconds }}
    securityContext:
      {{- toYaml .Values.securityContext.container | nindent 6 }}
    volumeMounts:
      {{- include "curate.scratchMounts" . | nindent 6 }}
  {{- end }}
  authOptions:
    mode: {{ .Values.ray.authentication.mode }}
    {{- with .Values.ray.authentication.secretName }}
    secretName: {{ . }}
    {{- end }}
  headGroupSpec:
    rayStartParams:
      num-cpus: "0" # only the driver of the run's job lives there
    template:
      metadata:
        labels:
          {{- include "curate.podLabels" (list . "ray") | nindent 10 }}
        {{- with .Values.ray.head.annotations }}
        annotations:
          {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        {{- /* Its autoscaler asks for pods by this account; the operator binds the rights for that. */}}
        {{- include "curate.pod" (list . (include "curate.account" (list . "ray")) $scales .Values.ray.head) | nindent 8 }}
        containers:
          - name: ray-head
            image: {{ include "curate.image" (list . "worker") }}
            imagePullPolicy: {{ .Values.images.pullPolicy }}
            securityContext:
              {{- toYaml .Values.securityContext.container | nindent 14 }}
            resources:
              {{- include "curate.rayResources" (set (deepCopy .Values.ray.head) "gpus" 0) | nindent 14 }}
            env:
              {{- include "curate.rayEnv" . | nindent 14 }}
            {{- with include "curate.dataEnvFrom" . }}
            envFrom:
              {{- . | nindent 14 }}
            {{- end }}
            volumeMounts:
              {{- include "curate.scratchMounts" . | nindent 14 }}
              {{- include "curate.dataMounts" . | nindent 14 }}
              {{- include "curate.computeMounts" . | nindent 14 }}
        volumes:
          {{- include "curate.scratchVolumes" . | nindent 10 }}
          {{- include "curate.dataVolumes" . | nindent 10 }}
          {{- include "curate.computeVolumes" (list . .Values.ray.head.sharedMemory) | nindent 10 }}
  workerGroupSpecs:
    {{- range $name, $given := .Values.ray.groups }}
    {{- with mergeOverwrite (deepCopy $.Values.ray.groupDefaults) ($given | default dict) }}
    - groupName: {{ $name }}
      replicas: {{ ternary .min .max $scales }}
      minReplicas: {{ ternary .min .max $scales }}
      maxReplicas: {{ .max }}
      {{- if and .gpus (ne .gpuResource "nvidia.com/gpu") }}
      rayStartParams:
        num-gpus: {{ .gpus | quote }} # the operator sees only resources whose names end with gpu
      {{- else }}
      rayStartParams: {}
      {{- end }}
      template:
        metadata:
          labels:
            {{- include "curate.podLabels" (list $ "ray") | nindent 12 }}
          {{- with .annotations }}
          annotations:
            {{- toYaml . | nindent 12 }}
          {{- end }}
        spec:
          {{- $scheduling := merge (dict "tolerations" (include "curate.rayTolerations" . | fromYamlArray)) . }}
          {{- include "curate.pod" (list $ (include "curate.account" (list $ "ray")) false $scheduling) | nindent 10 }}
          {{- with .runtimeClassName }}
          runtimeClassName: {{ . }}
          {{- end }}
          containers:
            - name: ray-worker
              image: {{ .image | default (include "curate.image" (list $ "worker")) }}
              imagePullPolicy: {{ $.Values.images.pullPolicy }}
              securityContext:
                {{- toYaml $.Values.securityContext.container | nindent 16 }}
              resources:
                {{- include "curate.rayResources" . | nindent 16 }}
              env:
                {{- include "curate.rayEnv" $ | nindent 16 }}
                {{- range $variable, $value := .variables }}
                - {name: {{ $variable }}, value: {{ $value | quote }}}
                {{- end }}
              {{- with include "curate.dataEnvFrom" $ }}
              envFrom:
                {{- . | nindent 16 }}
              {{- end }}
              volumeMounts:
                {{- include "curate.scratchMounts" $ | nindent 16 }}
                {{- include "curate.dataMounts" $ | nindent 16 }}
                {{- include "curate.computeMounts" $ | nindent 16 }}
          volumes:
            {{- include "curate.scratchVolumes" $ | nindent 12 }}
            {{- include "curate.dataVolumes" $ | nindent 12 }}
            {{- include "curate.computeVolumes" (list $ .sharedMemory) | nindent 12 }}
    {{- end }}
    {{- end }}
{{- end }}
