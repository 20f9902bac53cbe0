//! What a device developer should know and do, by what was seen.

use std::net::SocketAddr;

use dtls_client::AlertDescription;

use super::KeyFormat;
use super::credentials::Credentials;

/// Nothing came back at all.
pub(super) fn silence(address: SocketAddr) -> Vec<String> {
    vec![
        format!("Datagrams to UDP {address} get lost, or nobody listens there."),
        "Check host and port: DTLS is served on 5684 by default, and on UDP, not TCP.".to_owned(),
        "Check firewalls and security groups on the way: they must let UDP pass in both directions.".to_owned(),
        "Ask who runs the adapter whether it is up, and listens on more than 127.0.0.1 (`bindAddress`).".to_owned(),
    ]
}

/// The machine is there and says that the port is not.
pub(super) fn nobody(address: SocketAddr) -> Vec<String> {
    vec![
        format!("The machine at {} answers that no program listens on UDP port {}.", address.ip(), address.port()),
        "Check the port: 5684 is the default for coaps, 5683 for coap. Start the adapter, or enable that port.".to_owned(),
    ]
}

/// The server asked for its cookie and then went silent.
pub(super) fn full() -> Vec<String> {
    vec![
        "The adapter is there, but does not begin the handshake: all its places may be taken, or datagrams of this size get lost.".to_owned(),
        "Try again in a minute; ask who runs the adapter for `too-many-handshakes` in coap_adapter_handshakes_total.".to_owned(),
    ]
}

/// The server heard who the device says it is, and went silent.
pub(super) fn not_accepted(credentials: &Credentials, local: Option<SocketAddr>) -> Vec<String> {
    let mut advice = vec![
        "The adapter heard the credentials and went silent. It does so on purpose for an unknown identity, a wrong key and disabled credentials, and when it cannot ask the registry; no device is told which.".to_owned(),
    ];
    let mut whom = None;
    if let Credentials::Psk { identity, key } = credentials {
        match identity.split_once('@') {
            Some((auth_id, tenant)) => {
                advice.push(format!("1. Identity: the registry must have credentials of type psk for auth-id `{auth_id}` in tenant `{tenant}`, letter by letter, and enabled."));
                whom = Some((tenant, auth_id));
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
    let (tenant, device) = whom.unwrap_or(("TENANT", "DEVICE"));
    advice.push(format!(
        "3. Who runs the adapter can see the reason: GET /operator/devices/{tenant}/{device}/recent, or the log line `a handshake failed`{}.",
        local.map(|local| format!(" with port {}", local.port())).unwrap_or_default()
    ));
    advice
}

/// The server ended the handshake and said why.
pub(super) fn alert(alert: AlertDescription, credentials: &Credentials) -> Vec<String> {
    let certificate = matches!(credentials, Credentials::Certificate(_));
    let text: &[&str] = match alert {
        AlertDescription::HANDSHAKE_FAILURE if certificate => &[
            "The adapter takes none of the cipher suites for certificates.",
            "It may have no certificate of its own (`keyPath`, `certPath`), or one with an RSA key; ask who runs it, or use a pre-shared key.",
        ],
        AlertDescription::HANDSHAKE_FAILURE => {
            &["The adapter takes none of the cipher suites that were offered."]
        }
        AlertDescription::BAD_CERTIFICATE => &[
            "The adapter, or the tenant behind it, does not take the certificate; it does not say why.",
            "1. The tenant's trusted-ca must have the authority that issued the certificate directly, with its exact name and key.",
            "2. The certificate must be valid now, and fit for clientAuth and digitalSignature if it names usages.",
            "3. The registry must have credentials of type x509-cert with the certificate's subject as auth-id (RFC 2253 form), or provision devices by itself.",
            "4. Who runs the adapter can see the reason in the log line `a handshake failed` and in coap_adapter_handshakes_total.",
        ],
        AlertDescription::DECRYPT_ERROR => &[
            "The adapter could not verify the proof: the private key is not that of the certificate.",
        ],
        AlertDescription::PROTOCOL_VERSION => &["The server does not speak DTLS 1.2."],
        _ => &["The server ended the handshake; the alert is defined in RFC 5246 §7.2.2."],
    };
    text.iter().map(|line| (*line).to_owned()).collect()
}

/// What a response code means here.
pub(super) fn response(code: &str, text: &str) -> Vec<String> {
    let told: &[&str] = match (code, text) {
        ("4.00", text) if text.contains("confirmable") => {
            &["Send events and command responses as CON."]
        }
        ("4.00", text) if text.contains("content type") => {
            &["Send a payload with a Content-Format, or no payload with the query `empty`."]
        }
        ("4.00", _) => &[
            "The application rejected the message, or the request is malformed; the text tells more.",
        ],
        ("4.01", _) => &[
            "This needs a DTLS session with credentials: use coaps, or PUT with tenant and device in the path.",
        ],
        ("4.03", text) if text.contains("tenant is disabled") => &[
            "The credentials are right, but the tenant is disabled. Who runs the registry must enable it.",
        ],
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
        ("4.04", text) if text.contains("tenant") => {
            &["The registry does not know the tenant. Compare its name, letter by letter."]
        }
        ("4.04", text) if text.contains("request URI") => {
            &["Name tenant and device in the path: PUT /telemetry/tenant/device."]
        }
        ("4.04", text) if text.contains("undeliverable") => {
            &["The application could not deal with the message."]
        }
        ("4.04", _) => &[
            "There is no such resource. Telemetry goes to /telemetry or /t, events to /event or /e.",
        ],
        ("4.05", _) => &["Use POST (in a session), or PUT with tenant and device in the path."],
        ("4.13", _) => &[
            "The payload is larger than the adapter takes; send less, or ask who runs it to raise `maxPayloadSize`.",
        ],
        ("4.29", _) => &["The tenant has used up its data volume. Wait, or have its limit raised."],
        ("5.03", text) if text.contains("no consumer") => &[
            "The device is fine: handshake, tenant and registration are all right. No application receives this kind of message from the tenant.",
            "Start the application that reads the tenant's telemetry (or events), then send again.",
        ],
        ("5.03", text) if text.contains("in time") => &[
            "An application listens, but did not say in time whether it has taken the message. Send again later.",
        ],
        ("5.03", text) if text.contains("didn't process") => {
            &["An application listens, but gave the message back. Look at its log."]
        }
        ("5.03", _) => &[
            "The device is fine, but the adapter cannot reach a service it needs: the AMQP network, the registry or the command router.",
            "Who runs the adapter finds out which by GET /readiness on its health port. Send again after Max-Age.",
        ],
        ("5.00", _) => &[
            "Something behind the adapter failed. Who runs it finds the reason in the log line `a request was refused`.",
        ],
        _ => &["The text, if there is one, tells more."],
    };
    told.iter().map(|line| (*line).to_owned()).collect()
}
