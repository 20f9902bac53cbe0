{{/*
Checks beyond the schema. Each message names the key and the remedy; all errors are reported at once.
*/}}
{{- define "coap-adapter.checks" -}}
{{- $wrong := list -}}
{{- $ports := fromYaml (include "coap-adapter.ports" .) -}}
{{- $coap := .Values.config.hono.coap -}}
{{- if not .Values.sandbox.enabled -}}
  {{- range list "messaging" "command" "tenant" "registration" "credentials" "commandRouter" -}}
    {{- if not (default dict (get $.Values.config.hono .)).host -}}
      {{- $wrong = append $wrong (printf "config.hono.%s.host should be set: there is no default for where a service is" .) -}}
    {{- end -}}
  {{- end -}}
  {{- if not (or $ports.coaps $ports.coap) -}}
    {{- $wrong = append $wrong "config.hono.coap.port should be set, or insecurePortEnabled: true with authenticationRequired: false: devices would have no port" -}}
  {{- end -}}
{{- end -}}
{{- range $key, $port := $ports -}}
  {{- if eq (int $port) 0 -}}
    {{- $setting := index (dict "coaps" "config.hono.coap.port" "coap" "config.hono.coap.insecurePort" "health" "config.quarkus.http.port") $key -}}
    {{- $wrong = append $wrong (printf "%s is 0, which takes any free port; a Service needs a fixed one" $setting) -}}
  {{- end -}}
{{- end -}}
{{- if and $ports.coap (eq (toString $ports.coaps) (toString $ports.coap)) -}}
  {{- $wrong = append $wrong (printf "config.hono.coap.port and config.hono.coap.insecurePort are both %v; give them different numbers" $ports.coap) -}}
{{- end -}}
{{- if and $ports.coap (eq (int .Values.service.ports.coaps) (int .Values.service.ports.coap)) -}}
  {{- $wrong = append $wrong (printf "service.ports.coaps and service.ports.coap are both %v; give them different numbers" .Values.service.ports.coap) -}}
{{- end -}}
{{- $nodePorts := .Values.service.nodePorts -}}
{{- if and $nodePorts.coaps $nodePorts.coap (eq (int $nodePorts.coaps) (int $nodePorts.coap)) -}}
  {{- $wrong = append $wrong (printf "service.nodePorts.coaps and service.nodePorts.coap are both %v; give them different numbers" $nodePorts.coap) -}}
{{- end -}}
{{- with .Values.certificate -}}
  {{- if .certManager.enabled -}}
    {{- if not .certManager.issuerRef.name -}}
      {{- $wrong = append $wrong "certificate.certManager.issuerRef.name should be the name of an issuer" -}}
    {{- end -}}
    {{- if not .certManager.dnsNames -}}
      {{- $wrong = append $wrong "certificate.certManager.dnsNames should hold one name at least" -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.test.identity (not .Values.test.keySecret) -}}
  {{- $wrong = append $wrong "test.identity is set, but test.keySecret names no Secret" -}}
{{- end -}}
{{- if and .Values.test.identity (not $ports.coaps) -}}
  {{- $wrong = append $wrong "test.identity is set, but there is no port for DTLS: config.hono.coap.port" -}}
{{- end -}}
{{- range $name, $own := .Values.connections -}}
  {{- if and $own $own.trustSecret $own.trustConfigMap -}}
    {{- $wrong = append $wrong (printf "connections.%s.trustSecret and connections.%s.trustConfigMap are both set; keep one of them" $name $name) -}}
  {{- end -}}
{{- end -}}
{{- range fromYamlArray (include "coap-adapter.mounts" .) -}}
  {{- $mount := . -}}
  {{- $written := default dict (get $.Values.config.hono .group) -}}
  {{- if eq .group "prometheus" -}}
    {{- $written = default dict (default dict $.Values.config.hono.resourceLimits).prometheusBased -}}
  {{- end -}}
  {{- if not (or .secret .configMap) -}}
    {{- $wrong = append $wrong (printf "%s is enabled, but its keySecret names no Secret" .from) -}}
  {{- end -}}
  {{- range $key, $_ := .settings -}}
    {{- if get $written $key -}}
      {{- $wrong = append $wrong (printf "config.%s.%s comes from %s; set one of the two" (include "coap-adapter.group" $mount.group) $key $mount.from) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if not (or .Values.extraVolumeMounts .Values.sandbox.enabled) -}}
  {{- $secrets := dict "credentialsPath" "credentialsSecret" "keyPath" "tlsSecret" "certPath" "tlsSecret" "trustStorePath" "trustSecret" "operatorTokenPath" "" "ticketKeyPath" "" "sessionStorePath" "" "sessionStoreKeyPath" "" -}}
  {{- $instead := dict "keyPath" "certificate.existingSecret" "certPath" "certificate.existingSecret" "operatorTokenPath" "operator.tokenSecret" "ticketKeyPath" "sessions.ticketKeySecret" "sessionStorePath" "sessions.store" "sessionStoreKeyPath" "sessions.store.keySecret" -}}
  {{- range $group := list "coap" "messaging" "command" "tenant" "registration" "credentials" "commandRouter" "prometheus" -}}
    {{- $written := default dict (get $.Values.config.hono $group) -}}
    {{- if eq $group "prometheus" -}}
      {{- $written = default dict (default dict $.Values.config.hono.resourceLimits).prometheusBased -}}
    {{- end -}}
    {{- range $key, $secret := $secrets -}}
      {{- if get $written $key -}}
        {{- $value := eq $group "coap" | ternary (get $instead $key) (printf "connections.%s.%s" $group $secret) -}}
        {{- $wrong = append $wrong (printf "config.%s.%s is %s, but nothing is mounted there; set %s instead" (include "coap-adapter.group" $group) $key (get $written $key) $value) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $drain := int (ceil (divf (kindIs "invalid" $coap.drainTimeout | ternary 5000 $coap.drainTimeout) 1000)) -}}
{{- $least := add .Values.preStopSeconds $drain 10 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
  {{- $wrong = append $wrong (printf "terminationGracePeriodSeconds is %v, but should be at least %d: preStopSeconds, drainTimeout and 10 seconds to save sessions and close connections" .Values.terminationGracePeriodSeconds $least) -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
  {{- $wrong = append $wrong "autoscaling.minReplicas should not be more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.sandbox.enabled (or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1)) -}}
  {{- $wrong = append $wrong "sandbox.enabled goes with replicaCount: 1 and without autoscaling: each pod would be a world of its own" -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\nvalues of coap-adapter:\n  - %s\n" (join "\n  - " $wrong)) -}}
{{- end -}}
{{- end }}
