{{/*
The adapter's settings file: `config` and the paths of mounted files. _checks.tpl refuses a path that is
set in both places, so nothing is overwritten here.
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

{{/* The same without the settings that the adapter reloads at run time. */}}
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
