{{/*
The adapter's settings file: `config`, and the paths of what `certificate` and `connections` mount. A path that stands in both places
is refused in _checks.tpl, so nothing is overwritten here.
*/}}
{{- define "coap-adapter.config" -}}
{{- $root := include "coap-adapter.mountRoot" . -}}
{{- $config := deepCopy .Values.config -}}
{{- if include "coap-adapter.certificateSecret" . -}}
{{- $identity := dict "keyPath" (printf "%s/certificate/tls.key" $root) "certPath" (printf "%s/certificate/tls.crt" $root) -}}
{{- $_ := mergeOverwrite $config (dict "hono" (dict "coap" $identity)) -}}
{{- end -}}
{{- range fromYamlArray (include "coap-adapter.connections" .) -}}
{{- $mount := . -}}
{{- $settings := dict -}}
{{- range $key, $file := .settings -}}
{{- $_ := set $settings $key (printf "%s/%s/%s" $root $mount.volume $file) -}}
{{- end -}}
{{- if eq .connection "prometheus" -}}
{{- $_ := mergeOverwrite $config (dict "hono" (dict "resourceLimits" (dict "prometheusBased" $settings))) -}}
{{- else -}}
{{- $_ := mergeOverwrite $config (dict "hono" (dict .connection $settings)) -}}
{{- end -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}
