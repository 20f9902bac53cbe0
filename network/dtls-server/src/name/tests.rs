use super::*;

/// An element with its tag and length.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
    tlv(0x30, &[tlv(6, kind), tlv(tag, value)].concat())
}

fn name(parts: &[Vec<u8>]) -> DistinguishedName {
    let parts: Vec<u8> = parts.iter().flat_map(|part| tlv(0x31, part)).collect();
    DistinguishedName::from_der(&tlv(0x30, &parts)).unwrap()
}

const CN: &[u8] = &[0x55, 4, 3];
const O: &[u8] = &[0x55, 4, 10];
const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];

#[test]
fn the_most_specific_part_stands_first() {
    let name = name(&[
        attribute(&[0x55, 4, 6], 0x13, b"DE"),
        attribute(O, 0x0c, b"ACME Inc."),
        [
            attribute(CN, 0x0c, b"device-1"),
            attribute(&[0x55, 4, 11], 0x0c, b"shop floor"),
        ]
        .concat(),
    ]);
    assert_eq!(
        name.to_string(),
        "CN=device-1+OU=shop floor,O=ACME Inc.,C=DE"
    );
    assert_eq!(name.attribute("cn"), Some("device-1"));
    assert_eq!(name.attribute("O"), Some("ACME Inc."));
    assert_eq!(name.attribute("L"), None);
}

/// What `new X500Principal(der).getName(X500Principal.RFC2253)` of a JDK 17 says to the same bytes.
#[test]
fn special_characters_are_written_as_java_does() {
    for (value, written) in [
        (&b"a,b+c"[..], "CN=a\\,b\\+c"),
        (b"x=y#z", "CN=x\\=y\\#z"),
        (b"<a>;\"q\"\\", "CN=\\<a\\>\\;\\\"q\\\"\\\\"),
        (b"  two  ", "CN=\\ \\ two\\ \\ "),
        ("Düse".as_bytes(), "CN=Düse"),
        (b"in  side", "CN=in  side"),
        (b"#lead", "CN=\\#lead"),
        (b" ", "CN=\\ "),
        (b"nul\0x", "CN=nul\\00x"),
        ("日本".as_bytes(), "CN=日本"),
        (b"", "CN="),
    ] {
        assert_eq!(name(&[attribute(CN, 0x0c, value)]).to_string(), written);
    }
    assert_eq!(
        name(&[attribute(EMAIL, 0x16, b"a@b")]).to_string(),
        "1.2.840.113549.1.9.1=#1603614062"
    );
    assert_eq!(
        name(&[attribute(&[0x55, 4, 5], 0x13, b"123")]).to_string(),
        "2.5.4.5=#1303313233"
    );
    assert_eq!(
        name(&[attribute(&[0x55, 4, 9], 0x13, b"Street 1")]).to_string(),
        "STREET=Street 1"
    );
    assert_eq!(name(&[attribute(CN, 2, &[5])]).to_string(), "CN=#020105");
}

/// Java takes the bytes of such a string for UTF-8; what a person would read is used here.
#[test]
fn strings_of_wide_characters_are_read() {
    let wide = name(&[attribute(CN, 0x1e, &[0, b'h', 0, b'i'])]);
    assert_eq!(wide.to_string(), "CN=hi");
    let wider = name(&[attribute(CN, 0x1c, &[0, 1, 0xf6, 0])]);
    assert_eq!(wider.to_string(), "CN=\u{1f600}");
    let broken = name(&[attribute(CN, 0x1e, &[0, b'h', 0])]);
    assert_eq!(broken.to_string(), "CN=#1e03006800");
}

#[test]
fn names_match_whatever_their_strings_and_blanks() {
    let printable = name(&[attribute(O, 0x13, b"ACME"), attribute(CN, 0x13, b"The  CA")]);
    let utf8 = name(&[attribute(O, 0x0c, b"acme"), attribute(CN, 0x0c, b"The CA")]);
    let other = name(&[attribute(O, 0x0c, b"acme"), attribute(CN, 0x0c, b"The CA2")]);
    assert!(printable.matches(&utf8));
    assert!(!printable.matches(&other));
    assert!(utf8.is_written("CN=The CA, O=ACME"));
    assert!(!utf8.is_written("O=ACME,CN=The CA"));
    let tricky = name(&[attribute(CN, 0x0c, b"a,O=b")]);
    assert!(!tricky.is_written("CN=a,O=b"));
}

#[test]
fn bytes_that_are_no_name_are_refused() {
    let good = name(&[attribute(CN, 0x0c, b"device")]).as_der().to_vec();
    for length in 0..good.len() {
        assert!(DistinguishedName::from_der(&good[..length]).is_err());
    }
    for bad in [&[0x30, 2, 0x31, 0][..], &[0x31, 0], &[0x30, 0, 0]] {
        assert!(DistinguishedName::from_der(bad).is_err(), "{bad:?}");
    }
    assert_eq!(
        DistinguishedName::from_der(&[0x30, 0]).unwrap().to_string(),
        ""
    );
}
