{{/*
What is mounted, as YAML: a list of `{group, volume, secret | configMap, settings, from}`. `settings` are files of the mounted folder by the
setting below `config.hono.<group>` that names them; `from` is the value that asks for it. Each Secret is mounted as a whole directory, so
that its renewal arrives in running pods.
*/}}
{{- define "coap-adapter.mounts" -}}
{{- with include "coap-adapter.certificateSecret" . }}
- {group: coap, volume: certificate, secret: {{ . | quote }}, settings: {keyPath: tls.key, certPath: tls.crt}, from: certificate}
{{- end }}
{{- with .Values.operator.tokenSecret }}
- {group: coap, volume: operator, secret: {{ . | quote }}, settings: {operatorTokenPath: token}, from: operator.tokenSecret}
{{- end }}
{{- with .Values.sessions.ticketKeySecret }}
- {group: coap, volume: ticket-key, secret: {{ . | quote }}, settings: {ticketKeyPath: ticket-key}, from: sessions.ticketKeySecret}
{{- end }}
{{- if .Values.sessions.store.enabled }}
- {group: coap, volume: session-key, secret: {{ .Values.sessions.store.keySecret | quote }}, settings: {sessionStoreKeyPath: session-key}, from: sessions.store}
{{- end }}
{{- $all := .Values.connections -}}
{{- range $name := list "messaging" "command" "tenant" "registration" "credentials" "commandRouter" "prometheus" }}
{{- $own := default dict (get $all $name) -}}
{{- $shared := eq $name "prometheus" | ternary dict $all.shared -}}
{{- $volume := kebabcase $name -}}
{{- $trusts := not (empty (or $own.trustSecret $own.trustConfigMap)) -}}
{{- $from := printf "connections.%s" $name -}}
{{- with default $shared.credentialsSecret $own.credentialsSecret }}
- {group: {{ $name }}, volume: {{ $volume }}-user, secret: {{ . | quote }}, settings: {credentialsPath: credentials.properties}, from: {{ $from }}}
{{- end }}
{{- with default $shared.tlsSecret $own.tlsSecret }}
- {group: {{ $name }}, volume: {{ $volume }}-tls, secret: {{ . | quote }}, settings: {keyPath: tls.key, certPath: tls.crt}, from: {{ $from }}}
{{- end }}
{{- with ternary $own.trustSecret $shared.trustSecret $trusts }}
- {group: {{ $name }}, volume: {{ $volume }}-trust, secret: {{ . | quote }}, settings: {trustStorePath: ca.crt}, from: {{ $from }}}
{{- end }}
{{- with ternary $own.trustConfigMap $shared.trustConfigMap $trusts }}
- {group: {{ $name }}, volume: {{ $volume }}-trust, configMap: {{ . | quote }}, settings: {trustStorePath: ca.crt}, from: {{ $from }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The prefix of a group's settings in the file. */}}
{{- define "coap-adapter.group" -}}
{{ eq . "prometheus" | ternary "hono.resourceLimits.prometheusBased" (printf "hono.%s" .) }}
{{- end }}

{{/* The directory of all mounts. */}}
{{- define "coap-adapter.mountRoot" -}}/etc/coap-adapter{{- end }}

{{/* The mount point of the persistent volume. */}}
{{- define "coap-adapter.storeRoot" -}}/var/lib/coap-adapter{{- end }}
