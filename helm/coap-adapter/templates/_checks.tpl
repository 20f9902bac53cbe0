{{/*
What the schema cannot tell: each message names the key and what would be right. All that is wrong is told at once.
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
{{- if and (include "coap-adapter.certificateSecret" .) (or $coap.keyPath $coap.certPath) -}}
  {{- $wrong = append $wrong "config.hono.coap.keyPath and certPath come from `certificate`; set one of the two" -}}
{{- end -}}
{{- range $name, $own := .Values.connections -}}
  {{- if and $own $own.trustSecret $own.trustConfigMap -}}
    {{- $wrong = append $wrong (printf "connections.%s.trustSecret and connections.%s.trustConfigMap are both set; keep one of them" $name $name) -}}
  {{- end -}}
{{- end -}}
{{- range fromYamlArray (include "coap-adapter.connections" .) -}}
  {{- $connection := .connection -}}
  {{- $written := default dict (get $.Values.config.hono $connection) -}}
  {{- if eq $connection "prometheus" -}}
    {{- $written = default dict (default dict $.Values.config.hono.resourceLimits).prometheusBased -}}
  {{- end -}}
  {{- range $key, $_ := .settings -}}
    {{- if get $written $key -}}
      {{- $wrong = append $wrong (printf "config.%s.%s comes from connections.%s; set one of the two" (include "coap-adapter.connectionPath" $connection) $key $connection) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if not (or .Values.extraVolumeMounts .Values.sandbox.enabled) -}}
  {{- $secrets := dict "credentialsPath" "credentialsSecret" "keyPath" "tlsSecret" "certPath" "tlsSecret" "trustStorePath" "trustSecret" -}}
  {{- range $connection := list "coap" "messaging" "command" "tenant" "registration" "credentials" "commandRouter" "prometheus" -}}
    {{- $written := default dict (get $.Values.config.hono $connection) -}}
    {{- if eq $connection "prometheus" -}}
      {{- $written = default dict (default dict $.Values.config.hono.resourceLimits).prometheusBased -}}
    {{- end -}}
    {{- range $key, $secret := $secrets -}}
      {{- if get $written $key -}}
        {{- $instead := eq $connection "coap" | ternary "certificate.existingSecret" (printf "connections.%s.%s" $connection $secret) -}}
        {{- $wrong = append $wrong (printf "config.%s.%s is %s, but nothing is mounted there; name the Secret in %s" (include "coap-adapter.connectionPath" $connection) $key (get $written $key) $instead) -}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- $least := add .Values.preStopSeconds 15 -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
  {{- $wrong = append $wrong (printf "terminationGracePeriodSeconds is %v, but should be at least %d: preStopSeconds and 15 seconds for the drain" .Values.terminationGracePeriodSeconds $least) -}}
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
