{{- define "miso.name" -}}
{{- printf "%s" .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "miso.selector" -}}
app.kubernetes.io/name: miso
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "miso.labels" -}}
{{ include "miso.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "miso.clusterSecret" -}}
{{- .Values.cluster.existingSecret | default (printf "%s-cluster" (include "miso.name" .)) -}}
{{- end -}}
