//! AMQP values and sections as bytes (part 1 §1.6, part 3 §3.2), to write messages that no library would.

pub(crate) const NULL: &[u8] = &[0x40];
pub(crate) const TRUE: &[u8] = &[0x41];

pub(crate) fn int(value: i32) -> Vec<u8> {
    [&[0x71], &value.to_be_bytes()[..]].concat()
}

pub(crate) fn ulong(value: u64) -> Vec<u8> {
    [&[0x80], &value.to_be_bytes()[..]].concat()
}

pub(crate) fn uuid() -> Vec<u8> {
    [&[0x98], &[7; 16][..]].concat()
}

pub(crate) fn text(value: &str) -> Vec<u8> {
    counted(0xb1, value.as_bytes())
}

pub(crate) fn symbol(value: &str) -> Vec<u8> {
    counted(0xb3, value.as_bytes())
}

pub(crate) fn binary(value: &[u8]) -> Vec<u8> {
    counted(0xb0, value)
}

pub(crate) fn list(items: &[Vec<u8>]) -> Vec<u8> {
    compound(0xd0, items)
}

/// Keys and values in turn.
pub(crate) fn map(items: &[Vec<u8>]) -> Vec<u8> {
    compound(0xd1, items)
}

/// The sections of a message by their descriptors' last byte (part 3 §3.2).
pub(crate) mod section {
    pub(crate) const HEADER: u8 = 0x70;
    pub(crate) const DELIVERY_ANNOTATIONS: u8 = 0x71;
    pub(crate) const ANNOTATIONS: u8 = 0x72;
    pub(crate) const PROPERTIES: u8 = 0x73;
    pub(crate) const APPLICATION: u8 = 0x74;
    pub(crate) const DATA: u8 = 0x75;
    pub(crate) const SEQUENCE: u8 = 0x76;
    pub(crate) const VALUE: u8 = 0x77;
    pub(crate) const FOOTER: u8 = 0x78;
}

pub(crate) fn described(descriptor: u8, value: &[u8]) -> Vec<u8> {
    [&[0, 0x53, descriptor], value].concat()
}

fn counted(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind], &length[..], value].concat()
}

fn compound(kind: u8, items: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(items.len()).unwrap().to_be_bytes();
    counted(kind, &[&count[..], &items.concat()].concat())
}
