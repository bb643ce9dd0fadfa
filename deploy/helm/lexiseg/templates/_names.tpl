{{- define "lexiseg.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{ ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{/* Names under which REST is asked, between spaces: the Service's, of Ingress and HTTPRoute, and of the settings. */}}
{{- define "lexiseg.hosts" -}}
{{- $service := include "lexiseg.partname" (list $ "gateway") -}}
{{- $hosts := list $service (printf "%s.%s" $service .Release.Namespace) (printf "%s.%s.svc" $service .Release.Namespace) -}}
{{- $hosts = append $hosts (printf "%s.%s.svc.%s" $service .Release.Namespace .Values.edge.clusterDomain) -}}
{{- with .Values.gateway -}}
{{- if .ingress.enabled -}}{{- $hosts = append $hosts .ingress.host -}}{{- end -}}
{{- range ternary .routes.hostnames list .routes.enabled -}}
{{- if not (hasPrefix "*" .) -}}{{- $hosts = append $hosts . -}}{{- end -}}
{{- end -}}
{{- $hosts = concat $hosts (splitList "," (nospace (.settings.allowed_hosts | default ""))) -}}
{{- end -}}
{{ $hosts | compact | uniq | join " " }}
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

{{/* The name of the workers' ServiceAccount; empty is the namespace's own. */}}
{{- define "lexiseg.serviceaccount" -}}
{{- with .Values.models.serviceAccount -}}
{{- if .name -}}{{ .name }}{{- else if .annotations -}}{{ include "lexiseg.partname" (list $ "worker") }}{{- end -}}
{{- end -}}
{{- end }}

{{/* An entry of `workers` over what all of them have, with memory and start by its models: (list $ name). JSON. */}}
{{- define "lexiseg.worker" -}}
{{- $root := first . -}}
{{- $own := index $root.Values.workers (index . 1) | default dict -}}
{{- $worker := mergeOverwrite (deepCopy $root.Values.worker) (deepCopy $own) -}}
{{- if and (gt (int $worker.gpu.count) 0) (eq $worker.device "cpu") -}}
{{- fail (printf "the worker %s: a GPU of gpu.count, and device cpu that leaves it idle" (index . 1)) -}}
{{- end -}}
{{- $memory := 1536 -}}
{{- $seconds := 2 -}}
{{- $pull := list -}}
{{- range $model := $worker.models -}}
{{- $size := get $root.Values.models.sizes (regexReplaceAll "@.*" $model "") | default $root.Values.models.sizes.default -}}
{{- $memory = add $memory $size.memoryMiB -}}
{{- $seconds = max $seconds $size.startSeconds -}}
{{- if has $model $root.Values.models.pull -}}
{{- $pull = append $pull $model -}}
{{- end -}}
{{- end -}}
{{- if and $pull (not $root.Values.models.store) -}}
{{- fail "models.pull: models.store is where they are" -}}
{{- end -}}
{{- $sizes := dict "requests" (dict "memory" (printf "%dMi" $memory)) "limits" (dict "memory" (printf "%dMi" (mul 2 $memory))) -}}
{{- $replicas := ternary $worker.autoscaling.minReplicas $worker.replicas $worker.autoscaling.enabled -}}
{{- $surge := ternary (max 1 $worker.maxSurge) (int $worker.maxSurge) (eq (int $replicas) 1) -}}
{{- $start := ternary $worker.startSeconds $seconds (gt (int $worker.startSeconds) 0) -}}
{{- $resources := mergeOverwrite $sizes $worker.resources -}}
{{- merge (dict "resources" $resources "startSeconds" $start "surge" $surge "pull" $pull) $worker | toJson -}}
{{- end }}

{{/* Refuses what an autoscaler would: (list where autoscaling). */}}
{{- define "lexiseg.between" -}}
{{- with index . 1 -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "%s: minReplicas %d is above maxReplicas %d" (first $) (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Refuses settings of gateways that could not work: jobs that are kept nowhere, places that no policy lets them reach. */}}
{{- define "lexiseg.settingsfit" -}}
{{- $gateway := .Values.gateway -}}
{{- $settings := $gateway.settings -}}
{{- $kept := or $gateway.stateClaim $settings.job_files (contains "LEXISEG_JOB_FILES" (toJson $gateway.extraEnv)) -}}
{{- if and $settings.jobs (not $kept) -}}
{{- fail "gateway.settings.jobs: gateway.stateClaim or gateway.settings.job_files is where they are kept" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.gatewayEgress) -}}
{{- range $name := list "url_fetch" "url_networks" "webhook_networks" "label_studio_url" "job_files" "job_folders" -}}
{{- $value := get $settings $name -}}
{{- if and $value (or (not (hasPrefix "job_" $name)) (contains "://" (toString $value))) -}}
{{- fail (printf "gateway.settings.%s: networkPolicy.gatewayEgress is how gateways reach it; without one they reach workers, Redis and DNS" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
