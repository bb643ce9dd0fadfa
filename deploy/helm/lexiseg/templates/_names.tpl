{{- define "lexiseg.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{ ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Of one part: (list $ "gateway") or (list $ "worker" "tiny"). */}}
{{- define "lexiseg.partname" -}}
{{ include "lexiseg.fullname" (first .) }}-{{ rest . | join "-" }}
{{- end }}

{{- define "lexiseg.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- if gt (len .) 2 }}
lexiseg/worker: {{ index . 2 }}
{{- end }}
{{- end }}

{{- define "lexiseg.labels" -}}
{{- $root := first . -}}
{{ include "lexiseg.selector" . }}
app.kubernetes.io/part-of: lexiseg
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end }}

{{/* (list $ image) */}}
{{- define "lexiseg.image" -}}
{{- $root := first . -}}
{{- with index . 1 -}}
{{ .repository }}:{{ default $root.Chart.AppVersion .tag }}{{ with .digest }}@{{ . }}{{ end }}
{{- end -}}
{{- end }}

{{/* An entry of `workers` over what all of them have: (list $ name). JSON. */}}
{{- define "lexiseg.worker" -}}
{{- $root := first . -}}
{{- $own := index $root.Values.workers (index . 1) | default dict -}}
{{- $worker := mergeOverwrite (deepCopy $root.Values.worker) (deepCopy $own) -}}
{{- if and (gt (int $worker.gpu.count) 0) (eq $worker.device "cpu") -}}
{{- fail (printf "the worker %s: a GPU of gpu.count, and device cpu that leaves it idle" (index . 1)) -}}
{{- end -}}
{{- $worker | toJson -}}
{{- end }}

{{/* Refuses what an autoscaler would: (list where autoscaling). */}}
{{- define "lexiseg.between" -}}
{{- with index . 1 -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "%s: minReplicas %d is above maxReplicas %d" (first $) (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end }}
