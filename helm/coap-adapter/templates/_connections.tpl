{{/*
What is mounted for the connections, as YAML: a list of `{setting, name, volume, path, secret | configMap, keys}`. Each Secret is
mounted as a whole directory, so that its renewal arrives in running pods.
*/}}
{{- define "coap-adapter.connections" -}}
{{- $all := .Values.connections -}}
{{- range $name := list "messaging" "command" "tenant" "registration" "credentials" "commandRouter" "prometheus" }}
{{- $own := default dict (get $all $name) -}}
{{- $shared := eq $name "prometheus" | ternary dict $all.shared -}}
{{- $volume := kebabcase $name -}}
{{- $trusted := or $own.trustSecret $own.trustConfigMap -}}
{{- with default $shared.credentialsSecret $own.credentialsSecret }}
- {connection: {{ $name }}, volume: {{ $volume }}-user, secret: {{ . | quote }}, settings: {credentialsPath: credentials.properties}}
{{- end }}
{{- with default $shared.tlsSecret $own.tlsSecret }}
- {connection: {{ $name }}, volume: {{ $volume }}-tls, secret: {{ . | quote }}, settings: {keyPath: tls.key, certPath: tls.crt}}
{{- end }}
{{- with ternary $own.trustSecret $shared.trustSecret (not (empty $trusted)) }}
- {connection: {{ $name }}, volume: {{ $volume }}-trust, secret: {{ . | quote }}, settings: {trustStorePath: ca.crt}}
{{- end }}
{{- with ternary $own.trustConfigMap $shared.trustConfigMap (not (empty $trusted)) }}
- {connection: {{ $name }}, volume: {{ $volume }}-trust, configMap: {{ . | quote }}, settings: {trustStorePath: ca.crt}}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the settings of a connection stand in the file. */}}
{{- define "coap-adapter.connectionPath" -}}
{{ eq . "prometheus" | ternary "hono.resourceLimits.prometheusBased" (printf "hono.%s" .) }}
{{- end }}

{{- define "coap-adapter.mountRoot" -}}/etc/coap-adapter{{- end }}
