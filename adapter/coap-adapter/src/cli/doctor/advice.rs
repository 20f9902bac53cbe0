//! What a device developer should know and do, by what was seen.

use std::net::SocketAddr;

use dtls_client::AlertDescription;

use super::KeyFormat;
use super::credentials::Credentials;
use super::target::Security;

/// What serves devices at the server's address. The operator of an adapter has a log and the
/// operator's port; a sandbox has neither, but shows in its window why a device is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    Adapter,
    Sandbox,
}

impl Server {
    /// Where the reason of a refusal can be seen.
    fn reason(self, of_adapter: &str) -> String {
        match self {
            Self::Adapter => of_adapter.to_owned(),
            Self::Sandbox => {
                "The sandbox shows the reason and a remedy in its window, as a line of `adapter`."
                    .to_owned()
            }
        }
    }
}

/// What the port answers in the other protocol than the one of the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    Dtls,
    PlainCoap,
    Nothing,
}

/// Nothing came back at all.
pub(super) fn silence(address: SocketAddr, security: Security, other: Other) -> Vec<String> {
    let port = address.port();
    let wrong_scheme = match other {
        Other::Dtls => Some(format!(
            "A DTLS server answers at UDP port {port}: use coaps:// instead of coap://, with the device's credentials."
        )),
        Other::PlainCoap => Some(format!(
            "A server for CoAP without security answers at UDP port {port}: use coap:// instead of coaps://, or the port for DTLS (5684 by default)."
        )),
        Other::Nothing => scheme_of_port(port, security),
    };
    if other != Other::Nothing {
        return wrong_scheme.into_iter().collect();
    }
    let usual = match security {
        Security::Dtls => {
            "Check host and port: DTLS is served on 5684 by default, and on UDP, not TCP."
        }
        Security::None => {
            "Check host and port: CoAP without security is served on 5683 by default, and only where the adapter allows it."
        }
    };
    wrong_scheme
        .into_iter()
        .chain([
            format!("Datagrams to UDP {address} get lost, or no program listens there."),
            usual.to_owned(),
            "Check firewalls and security groups on the way: they must let UDP pass in both directions.".to_owned(),
            "Ask the operator whether the adapter is up, and listens on more than 127.0.0.1 (`bindAddress`, or `--address` of a sandbox).".to_owned(),
        ])
        .collect()
}

/// The machine is there and says that the port is not.
pub(super) fn nobody(address: SocketAddr, security: Security) -> Vec<String> {
    let port = address.port();
    let own = [
        format!("The machine at {} answers that no program listens on UDP port {port}.", address.ip()),
        "Check the port: 5684 is the default for coaps, 5683 for coap. Start the adapter, or enable that port.".to_owned(),
    ];
    own.into_iter()
        .chain(scheme_of_port(port, security))
        .collect()
}

/// The port is the usual one of the other scheme.
fn scheme_of_port(port: u16, security: Security) -> Option<String> {
    let text = match (port, security) {
        (5684, Security::None) => {
            "5684 is the usual port for DTLS: use coaps:// instead of coap://, with the device's credentials."
        }
        (5683, Security::Dtls) => {
            "5683 is the usual port for CoAP without security: use coap:// instead of coaps://, or port 5684."
        }
        _ => return None,
    };
    Some(text.to_owned())
}

/// The server asked for its cookie and then went silent.
pub(super) fn full() -> Vec<String> {
    vec![
        "The adapter is there, but does not begin the handshake: its limit of handshakes may be reached, or datagrams of this size get lost.".to_owned(),
        "Try again in a minute; the reason `too-many-handshakes` is counted in the metric coap_adapter_handshakes_total.".to_owned(),
    ]
}

/// The server heard who the device says it is, and went silent.
pub(super) fn not_accepted(
    credentials: &Credentials,
    local: Option<SocketAddr>,
    server: Server,
) -> Vec<String> {
    let mut advice = vec![
        "The adapter received the credentials and went silent. It does so on purpose for an unknown identity, a wrong key and disabled credentials, and when it cannot ask the registry; a device does not learn which.".to_owned(),
    ];
    let mut asked = None;
    if let Credentials::Psk { identity, key } = credentials {
        match identity.split_once('@') {
            Some((auth_id, tenant)) => {
                advice.push(format!("1. Identity: the registry must have credentials of type psk for auth-id `{auth_id}` in tenant `{tenant}`, letter by letter, and enabled."));
                asked = Some((tenant, auth_id));
            }
            None => advice.push(format!("1. Identity: `{identity}` has no `@`; unless the adapter is set otherwise it must be auth-id@tenant.")),
        }
        advice.push(format!(
            "2. Key: {} bytes were used{}. The registry holds the same bytes in Base64.",
            key.bytes.len(),
            match key.looks_like {
                Some(KeyFormat::Hex) =>
                    ", the text as it is; it looks like hexadecimal, so try --key-format hex",
                Some(KeyFormat::Base64) =>
                    ", the text as it is; it looks like Base64, so try --key-format base64",
                _ => "",
            }
        ));
    } else {
        advice.push("1. Certificate: its tenant may take longer to look up than this waited; see --timeout.".to_owned());
    }
    let (tenant, device) = asked.unwrap_or(("TENANT", "DEVICE"));
    let port = local.map(|local| format!(" with port {}", local.port()));
    advice.push(format!(
        "3. {}",
        server.reason(&format!(
            "The operator can see the reason: GET /operator/devices/{tenant}/{device}/recent, or the log line `handshake failed`{}.",
            port.unwrap_or_default()
        ))
    ));
    advice
}

/// The server ended the handshake and said why.
pub(super) fn alert(
    alert: AlertDescription,
    credentials: &Credentials,
    server: Server,
) -> Vec<String> {
    let certificate = matches!(credentials, Credentials::Certificate(_));
    let lines: &[&str] = match alert {
        AlertDescription::HANDSHAKE_FAILURE if certificate && server == Server::Sandbox => &[
            "The sandbox serves pre-shared keys only: it has no certificate of its own.",
            "Use a pre-shared key, or `coap-adapter run` with `keyPath`, `certPath` and the AMQP network of the sandbox.",
        ],
        AlertDescription::HANDSHAKE_FAILURE if certificate => &[
            "The adapter accepts none of the cipher suites for certificates.",
            "It may have no certificate of its own (`keyPath`, `certPath`), or one with an RSA key; ask the operator, or use a pre-shared key.",
        ],
        AlertDescription::HANDSHAKE_FAILURE => {
            &["The adapter accepts none of the cipher suites that were offered."]
        }
        AlertDescription::BAD_CERTIFICATE => &[
            "The adapter, or the tenant behind it, does not accept the certificate; it does not say why.",
            "1. The tenant's trusted-ca must have the authority that issued the certificate directly, with its exact name and key.",
            "2. The certificate must be valid now, and fit for clientAuth and digitalSignature if it names usages.",
            "3. The registry must have credentials of type x509-cert with the certificate's subject as auth-id (RFC 2253 form), or provision devices by itself.",
        ],
        AlertDescription::DECRYPT_ERROR => &[
            "The adapter could not verify the proof: the private key is not that of the certificate.",
        ],
        AlertDescription::PROTOCOL_VERSION => &["The server does not speak DTLS 1.2."],
        _ => &["The server ended the handshake; the alert is defined in RFC 5246 §7.2.2."],
    };
    let mut advice: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    if alert == AlertDescription::BAD_CERTIFICATE {
        let reason = server.reason(
            "The operator can see the reason in the log line `handshake failed` and in the metric coap_adapter_handshakes_total.",
        );
        advice.push(format!("4. {reason}"));
    }
    advice
}

/// What a response code means here. Texts are those of the adapter, which are Hono's.
pub(super) fn response(code: &str, text: &str, server: Server) -> Vec<String> {
    let lines: &[&str] = match (code, text) {
        ("4.00", text) if text.contains("confirmable") => {
            &["Send events and command responses as CON."]
        }
        ("4.00", text) if text.contains("content type") => {
            &["Send a payload with a Content-Format, or no payload with the query `empty`."]
        }
        ("4.00", text) if text.contains("command-request-id") => &[
            "Send the response to the path and id of the command's Location-Path, with the query hono-cmd-status=200 (200 to 299, or 400 to 599).",
        ],
        ("4.00", _) => &[
            "The application rejected the message, or the request is malformed; the text has the details.",
        ],
        ("4.01", _) => &[
            "This needs a DTLS session with credentials: use coaps, or PUT with tenant and device in the path.",
        ],
        ("4.03", text) if text.contains("tenant is disabled") => {
            &["The credentials are right, but the tenant is disabled. Enable it in the registry."]
        }
        ("4.03", text) if text.contains("adapter is disabled") => &[
            "The credentials are right, but the tenant does not allow CoAP. Enable the adapter hono-coap for the tenant in the registry.",
        ],
        ("4.03", text) if text.contains("gateway") => &[
            "The credentials are those of a gateway that may not speak for this device, or is disabled. Add it to the device's `via` in the registry.",
        ],
        ("4.03", text) if text.contains("tenant ID") => {
            &["The path names another tenant than the credentials."]
        }
        ("4.03", _) => &["The AMQP network or the application does not allow it."],
        ("4.04", text) if text.contains("device is disabled") => &[
            "The credentials are right, but the device itself is disabled or not registered. Look at the device (not its credentials) in the registry.",
        ],
        ("4.04", text) if text.contains("must contain tenant and device ID") => &[
            "Name tenant and device in the path: PUT /telemetry/TENANT/DEVICE. Only a DTLS session has them already.",
        ],
        ("4.04", text) if text.contains("must contain device ID") => &[
            "Name the device in the path after the tenant: PUT /telemetry/TENANT/DEVICE, or PUT /telemetry//DEVICE for the tenant of the session.",
        ],
        ("4.04", text) if text.contains("no such tenant") => {
            &["The registry does not know the tenant. Compare its name, letter by letter."]
        }
        ("4.04", text) if text.contains("undeliverable") => {
            &["The application could not deal with the message."]
        }
        ("4.04", text) if text.contains("Error Code") => &[
            "The registry does not know the tenant or the device. Compare their names, letter by letter.",
        ],
        ("4.04", _) => &[
            "There is no such resource. Telemetry goes to /telemetry or /t, events to /event or /e.",
        ],
        ("4.05", _) => &["Use POST (in a session), or PUT with tenant and device in the path."],
        ("4.13", _) if server == Server::Sandbox => {
            &["The payload is larger than the sandbox accepts: 2048 bytes."]
        }
        ("4.13", _) => &[
            "The payload is larger than the adapter accepts; send less, or ask the operator to raise `maxPayloadSize`.",
        ],
        ("4.29", _) => &["The tenant has used up its data volume. Wait, or have its limit raised."],
        ("5.03", text) if text.contains("no consumer") => &[
            "The device is fine: handshake, tenant and registration are all right. No application receives this kind of message from the tenant.",
            "Start the application that reads the tenant's telemetry (or events), then send again.",
        ],
        ("5.03", text) if text.contains("in time") => &[
            "An application listens, but did not say in time whether it has accepted the message. Send again later.",
        ],
        ("5.03", text) if text.contains("didn't process") => {
            &["An application listens, but gave the message back. Look at its log."]
        }
        ("5.03", text) if text.contains("resource limit") => &[
            "A queue of the AMQP network is full. An application must receive from it; then send again.",
        ],
        ("5.03", _) => &[
            "The device is fine, but the adapter cannot reach a service it needs: the AMQP network, the registry or the command router.",
            "GET /readiness at the health port says which one. Send again after Max-Age.",
        ],
        ("5.00", _) => {
            return vec![
                "Something behind the adapter failed.".to_owned(),
                server.reason("The operator finds the reason in the log line `request refused`."),
            ];
        }
        ("5.05", _) => {
            &["Remove the options Proxy-Uri and Proxy-Scheme: the adapter is not a proxy."]
        }
        _ => &["If the response has a text, it has the details."],
    };
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::credentials::Key;
    use super::*;

    /// Each text of the adapter leads to its own advice.
    ///
    /// Symptom: for a path without tenant and device the advice was to compare the tenant's name.
    /// Cause: the text has the word "tenant", and the arm for that came first.
    #[test]
    fn every_text_of_the_adapter_has_the_advice_that_is_about_it() {
        let rows = [
            (
                "4.00",
                "event endpoint supports confirmable request messages only",
                "as CON",
            ),
            (
                "4.00",
                "content type [null] does not match payload",
                "Content-Format",
            ),
            (
                "4.00",
                "command-request-id [null] or status code [null] is missing/invalid",
                "hono-cmd-status",
            ),
            (
                "4.01",
                "DTLS session does not contain authenticated Device",
                "use coaps",
            ),
            (
                "4.03",
                "tenant is disabled or not registered",
                "tenant is disabled",
            ),
            ("4.03", "adapter is disabled", "hono-coap"),
            ("4.03", "gateway is disabled or not registered", "`via`"),
            (
                "4.03",
                "tenant ID in request URI must match provided credentials",
                "another tenant",
            ),
            (
                "4.04",
                "device is disabled or not registered",
                "device itself",
            ),
            (
                "4.04",
                "request URI must contain tenant and device ID",
                "Name tenant and device",
            ),
            (
                "4.04",
                "request URI must contain device ID",
                "Name the device",
            ),
            ("4.04", "no such tenant", "does not know the tenant."),
            ("4.04", "Error Code: 404", "the tenant or the device"),
            (
                "4.04",
                "consumer declared message as undeliverable, it should not be redelivered",
                "could not deal with",
            ),
            ("4.04", "", "no such resource"),
            ("4.05", "Error Code: 405", "POST"),
            ("4.13", "body too large, max. 2048 bytes", "maxPayloadSize"),
            (
                "4.29",
                "tenant's accumulated message data volume exceeds configured maximum value",
                "data volume",
            ),
            ("5.00", "Internal server error", "behind the adapter"),
            ("5.03", "no consumer available", "Start the application"),
            (
                "5.03",
                "consumer failed to indicate in time whether it has processed the message",
                "in time",
            ),
            (
                "5.03",
                "consumer didn't process the message",
                "gave the message back",
            ),
            (
                "5.03",
                "consumer rejected the message because a resource limit was exceeded, possibly a (tenant-specific) queue size limit",
                "queue",
            ),
            ("5.03", "Temporarily unavailable", "/readiness"),
            ("5.05", "", "Proxy-Uri"),
        ];
        for (code, text, advice) in rows {
            let given = response(code, text, Server::Adapter).join(" ");
            assert!(given.contains(advice), "{code} {text}: {given}");
        }
    }

    /// Symptom: at a sandbox the advice was to look at the operator's port and the log, which it
    /// does not have.
    #[test]
    fn at_a_sandbox_no_advice_is_about_what_only_an_operator_has() {
        let psk = || Credentials::Psk {
            identity: "a@T".to_owned(),
            key: Key {
                bytes: Zeroizing::new(b"k".to_vec()),
                looks_like: None,
            },
        };
        let local = Some(SocketAddr::from(([127, 0, 0, 1], 7)));
        let all = |server| {
            let mut all = not_accepted(&psk(), local, server);
            for number in 0..=120 {
                all.extend(alert(AlertDescription(number), &psk(), server));
            }
            for code in [
                "4.00", "4.01", "4.03", "4.04", "4.05", "4.13", "4.29", "5.00", "5.03",
            ] {
                all.extend(response(code, "", server));
            }
            all.join("\n")
        };
        let of_operators = ["/operator/", "log line", "operator", "maxPayloadSize"];
        for word in of_operators {
            assert!(all(Server::Adapter).contains(word), "{word}");
            assert!(
                !all(Server::Sandbox).contains(word),
                "{word}\n{}",
                all(Server::Sandbox)
            );
        }
        assert!(all(Server::Sandbox).contains("shows the reason"));
    }

    #[test]
    fn a_port_that_speaks_the_other_protocol_is_told_by_what_it_answers_or_by_its_number() {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let first = |advice: Vec<String>| advice.into_iter().next().unwrap();
        let advice = silence(at(15684), Security::None, Other::Dtls);
        assert!(first(advice).contains("use coaps://"));
        let advice = silence(at(15683), Security::Dtls, Other::PlainCoap);
        assert!(first(advice).contains("use coap://"));
        let advice = silence(at(5684), Security::None, Other::Nothing);
        assert!(first(advice).contains("use coaps://"));
        let advice = silence(at(5683), Security::Dtls, Other::Nothing);
        assert!(first(advice).contains("use coap://"));
        for (port, security) in [
            (5684, Security::Dtls),
            (5683, Security::None),
            (7, Security::None),
        ] {
            let advice = silence(at(port), security, Other::Nothing);
            assert!(first(advice).contains("get lost"), "{port}");
            assert_eq!(nobody(at(port), security).len(), 2);
        }
        assert!(nobody(at(5684), Security::None)[2].contains("use coaps://"));
    }
}
