//! Content-Format numbers and the media types they stand for (RFC 7252 §12.3; spec: coap-adapter §6).

use std::borrow::Cow;

/// The media type of a Content-Format; `unknown/N` for one that is not registered here.
#[must_use]
pub fn media_type(content_format: u16) -> Cow<'static, str> {
    match REGISTRY.binary_search_by_key(&content_format, |(number, _)| *number) {
        Ok(place) => REGISTRY.get(place).map_or("", |(_, name)| name).into(),
        Err(_) => format!("unknown/{content_format}").into(),
    }
}

/// The Content-Format of a media type, which must be the same to the letter but for their case; parameters count.
#[must_use]
pub fn from_media_type(media_type: &str) -> Option<u16> {
    let mut rows = REGISTRY.iter();
    rows.find(|(_, name)| name.eq_ignore_ascii_case(media_type))
        .map(|(number, _)| *number)
}

/// `text/plain`, also of diagnostic payloads (RFC 7252 §5.5.2).
pub const TEXT_PLAIN: u16 = 0;

/// `application/link-format` (RFC 6690 §7.3).
pub const LINK_FORMAT: u16 = 40;

/// Ascending by number.
const REGISTRY: &[(u16, &str)] = &[
    (0, "text/plain"),
    (16, "application/cose; cose-type=\"cose-encrypt0\""),
    (17, "application/cose; cose-type=\"cose-mac0\""),
    (18, "application/cose; cose-type=\"cose-sign1\""),
    (19, "application/ace+cbor"),
    (21, "image/gif"),
    (22, "image/jpeg"),
    (23, "image/png"),
    (40, "application/link-format"),
    (41, "application/xml"),
    (42, "application/octet-stream"),
    (46, "application/xmpp+xml"),
    (47, "application/exi"),
    (50, "application/json"),
    (51, "application/json-patch+json"),
    (52, "application/merge-patch+json"),
    (60, "application/cbor"),
    (61, "application/cwt"),
    (62, "application/multipart-core"),
    (63, "application/cbor-seq"),
    (96, "application/cose; cose-type=\"cose-encrypt\""),
    (97, "application/cose; cose-type=\"cose-mac\""),
    (98, "application/cose; cose-type=\"cose-sign\""),
    (101, "application/cose-key"),
    (102, "application/cose-key-set"),
    (110, "application/senml+json"),
    (111, "application/sensml+json"),
    (112, "application/senml+cbor"),
    (113, "application/sensml+cbor"),
    (114, "application/senml+exi"),
    (115, "application/sensml+exi"),
    (256, "application/coap-group+json"),
    (271, "application/dots+cbor"),
    (272, "application/missing-blocks+cbor-seq"),
    (
        280,
        "application/pkcs7-mime; smime-type=\"server-generated-key\"",
    ),
    (281, "application/pkcs7-mime; smime-type=\"certs-only\""),
    (284, "application/pkcs8"),
    (285, "application/csattrs"),
    (286, "application/pkcs10"),
    (287, "application/pkix-cert"),
    (310, "application/senml+xml"),
    (311, "application/sensml+xml"),
    (320, "application/senml-etch+json"),
    (322, "application/senml-etch+cbor"),
    (432, "application/td+json"),
    (10000, "application/vnd.ocf+cbor"),
    (10001, "application/oscore"),
    (10002, "application/javascript"),
    (11542, "application/vnd.oma.lwm2m+tlv"),
    (11543, "application/vnd.oma.lwm2m+json"),
    (11544, "application/vnd.oma.lwm2m+cbor"),
    (20000, "text/css"),
    (30000, "image/svg+xml"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sorted_and_reads_both_ways() {
        assert!(REGISTRY.is_sorted_by_key(|(number, _)| *number));
        for (number, name) in REGISTRY {
            assert_eq!(media_type(*number), *name);
            assert_eq!(
                from_media_type(&name.to_uppercase()),
                Some(*number),
                "{name}"
            );
        }
    }

    #[test]
    fn an_unregistered_format_is_named_by_its_number() {
        for number in [1, 11050, 65000, u16::MAX] {
            assert_eq!(media_type(number), format!("unknown/{number}"));
        }
        for name in [
            "",
            "text/plain; charset=utf-8",
            "application/vnd.acme",
            "unknown/1",
        ] {
            assert_eq!(from_media_type(name), None, "{name}");
        }
    }
}
