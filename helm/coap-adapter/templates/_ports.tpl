{{/*
The ports inside the pod as YAML: `coaps`, `coap` if there is one, `health`. The rules are the adapter's: a DTLS port exists with
`port` or a certificate, one without security with `insecurePortEnabled` or `insecurePort`, and only if nobody must authenticate.
*/}}
{{- define "coap-adapter.ports" -}}
{{- $coap := .Values.config.hono.coap -}}
{{- $port := kindIs "invalid" $coap.port | ternary -1 $coap.port | int -}}
{{- $insecure := kindIs "invalid" $coap.insecurePort | ternary -1 $coap.insecurePort | int -}}
{{- $plain := and (or $coap.insecurePortEnabled (ge $insecure 0)) (eq (toString (dig "authenticationRequired" true $coap)) "false") -}}
{{- if or (ge $port 0) (include "coap-adapter.certificateSecret" .) .Values.sandbox.enabled }}
coaps: {{ ge $port 0 | ternary $port 5684 }}
{{- end }}
{{- if or $plain .Values.sandbox.enabled }}
coap: {{ ge $insecure 0 | ternary $insecure 5683 }}
{{- end }}
health: {{ int (dig "quarkus" "http" "port" 8088 .Values.config) }}
{{- end }}

{{/* The Secret with the server's certificate; empty if there is none. */}}
{{- define "coap-adapter.certificateSecret" -}}
{{- if .Values.certificate.certManager.enabled -}}
{{ default (printf "%s-dtls" (include "coap-adapter.fullname" .)) .Values.certificate.existingSecret }}
{{- else -}}
{{ .Values.certificate.existingSecret }}
{{- end -}}
{{- end }}
