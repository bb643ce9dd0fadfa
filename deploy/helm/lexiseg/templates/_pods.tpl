{{/* What every pod may not do. No service links: Kubernetes would set LEXISEG_WORKER_PORT and its like to tcp://... */}}
{{- define "lexiseg.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "lexiseg.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Where a pod may run: (list $ part). */}}
{{- define "lexiseg.scheduling" -}}
{{- $root := first . -}}
{{- $part := index . 1 -}}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with ($part.gpu | default dict).runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- end }}

{{/* Requests and limits, and GPUs among the limits. */}}
{{- define "lexiseg.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- with .gpu -}}
{{- if .count -}}
{{- $_ := set $resources "limits" (merge (dict .resource (int .count)) ($resources.limits | default dict)) -}}
{{- end -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}

{{/* Settings as variables. A whole number of millions must not become 1e+06. */}}
{{- define "lexiseg.settings" -}}
{{- range $name, $value := . }}
- name: LEXISEG_{{ $name | upper }}
  value: {{ if kindIs "float64" $value }}{{ if eq (floor $value) $value }}{{ printf "%.0f" $value | quote }}{{ else }}{{ $value | toString | quote }}{{ end }}{{ else }}{{ $value | toString | quote }}{{ end }}
{{- end }}
{{- end }}

{{/* Where Redis is, its password by reference. */}}
{{- define "lexiseg.redis" -}}
{{- if and .Values.externalRedis.existingSecret .Values.redis.enabled -}}
{{- fail "externalRedis.existingSecret beside redis.enabled: one of the two; set redis.enabled=false" -}}
{{- end }}
{{- if .Values.externalRedis.existingSecret }}
- name: LEXISEG_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ .Values.externalRedis.existingSecret }}, key: {{ .Values.externalRedis.key }}}
{{- else if .Values.redis.enabled }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.redis.auth.existingSecret }}, key: {{ .Values.redis.auth.key }}}
- name: LEXISEG_REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ printf "%s-redis" .Release.Name | trunc 63 | trimSuffix "-" }}:6379/0
{{- end }}
{{- end }}

{{/* The probes of a part: (dict "port" "http" "started" "/livez" "startSeconds" 120). */}}
{{- define "lexiseg.probes" -}}
startupProbe:
  httpGet: {path: {{ .started }}, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 3
  failureThreshold: {{ div (add .startSeconds 1) 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /livez, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Names are looked up; Redis is reached. Of NetworkPolicies. */}}
{{- define "lexiseg.egress" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- if .Values.externalRedis.existingSecret }}
- ports:
    - {protocol: TCP, port: {{ .Values.externalRedis.port }}}
{{- else if .Values.redis.enabled }}
- to:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: redis
          app.kubernetes.io/instance: {{ .Release.Name }}
  ports:
    - {protocol: TCP, port: 6379}
{{- end }}
{{- end }}

{{/* How gateways and workers know each other: (list $ "gateway"), variables. */}}
{{- define "lexiseg.hop" -}}
{{- $root := first . -}}
{{- with $root.Values.hop -}}
{{- if .token.existingSecret }}
- name: LEXISEG_WORKER_TOKEN
  valueFrom:
    secretKeyRef: {name: {{ .token.existingSecret }}, key: {{ .token.key }}}
{{- end }}
{{- if include "lexiseg.certificate" $ }}
- name: LEXISEG_WORKER_TLS
  value: /etc/lexiseg/hop
{{- end }}
{{- end }}
{{- end }}

{{/* The Secret with a part's certificate; empty without. One side alone would let nobody in. */}}
{{- define "lexiseg.certificate" -}}
{{- with (first .).Values.hop.tls -}}
{{- if ne (empty .gatewaySecret) (empty .workerSecret) -}}
{{- fail "hop.tls: gatewaySecret and workerSecret, or neither" -}}
{{- end -}}
{{ get . (printf "%sSecret" (index $ 1)) }}
{{- end -}}
{{- end }}
