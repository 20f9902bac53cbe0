{{/*
The adapter's settings file: `config`, and the paths of what is mounted. A path that stands in both places is refused in _checks.tpl, so nothing is overwritten here.
*/}}
{{- define "coap-adapter.config" -}}
{{- $root := include "coap-adapter.mountRoot" . -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.sessions.store.enabled -}}
{{- $_ := set $config.hono.coap "sessionStorePath" (printf "%s/sessions" (include "coap-adapter.storeRoot" .)) -}}
{{- end -}}
{{- range fromYamlArray (include "coap-adapter.mounts" .) -}}
{{- $mount := . -}}
{{- $settings := dict -}}
{{- range $key, $file := .settings -}}
{{- $_ := set $settings $key (printf "%s/%s/%s" $root $mount.volume $file) -}}
{{- end -}}
{{- if eq .group "prometheus" -}}
{{- $_ := mergeOverwrite $config (dict "hono" (dict "resourceLimits" (dict "prometheusBased" $settings))) -}}
{{- else -}}
{{- $_ := mergeOverwrite $config (dict "hono" (dict .group $settings)) -}}
{{- end -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}

{{/* The same without what the adapter takes in use while it runs. */}}
{{- define "coap-adapter.fixedConfig" -}}
{{- $config := fromYaml (include "coap-adapter.config" .) -}}
{{- with dig "quarkus" "log" dict $config -}}
{{- $_ := unset . "level" -}}
{{- $_ := unset . "category" -}}
{{- if kindIs "map" .console -}}
{{- $_ := unset .console "level" -}}
{{- end -}}
{{- end -}}
{{ toYaml $config }}
{{- end }}
