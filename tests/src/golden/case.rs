//! The files of a recording, read without judging them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// A folder with recordings.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder that the variable `GOLDEN_DIR` names, else the one that is kept with these tests.
    #[must_use]
    pub fn chosen() -> Self {
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/golden");
        Self(env::var_os("GOLDEN_DIR").map_or(kept, PathBuf::from))
    }

    /// The text of `setup.json`: tenants and devices.
    ///
    /// # Errors
    /// If it cannot be read; the error names the file.
    pub fn setup(&self) -> io::Result<String> {
        read(&self.0.join("setup.json"))
    }

    /// All cases, by name.
    ///
    /// # Errors
    /// If the folder or one of its files cannot be read or understood; the error names the file.
    pub fn cases(&self) -> io::Result<Vec<Case>> {
        let folder = self.0.join("cases");
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
        };
        let mut cases = Vec::new();
        for entry in fs::read_dir(&folder).map_err(named)? {
            let path = entry.map_err(named)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let case = serde_json::from_str(&read(&path)?);
                cases.push(
                    case.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?,
                );
            }
        }
        cases.sort_by(|one: &Case, other| one.name.cmp(&other.name));
        Ok(cases)
    }
}

/// A dialogue of one device with the adapter, in one session.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Name of the case and of its file.
    pub name: String,
    /// Who took part in the north.
    pub setup: Setup,
    /// By which port the device came.
    pub transport: Transport,
    /// Who it is in the session; none without one.
    pub principal: Option<Principal>,
    /// In order.
    pub exchanges: Vec<Exchange>,
    /// What the application sent to devices meanwhile; the tests take them as they are.
    #[serde(default)]
    pub commands: Vec<Value>,
}

impl Case {
    /// Whether each datagram was sent twice in a row.
    #[must_use]
    pub fn sends_twice(&self) -> bool {
        self.name.starts_with("dup-")
    }

    /// The exchange that was refused because the tenant had sent as much as it may, if there was one.
    #[must_use]
    pub fn over_the_limit(&self) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| {
            let response = exchange.response.as_ref();
            response.is_some_and(|response| response.code == "4.29")
        })
    }
}

/// Who took part in the north.
#[derive(Debug, Clone, Deserialize)]
pub struct Setup {
    /// Whose messages the application receives.
    pub tenant: String,
    /// What it did with them.
    pub consumer: Consumer,
}

/// What the application did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consumer {
    /// Nobody was attached.
    Absent,
    /// A word that `sandbox` understands as a behaviour.
    Attached(String),
}

impl<'de> Deserialize<'de> for Consumer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(match word.as_str() {
            "absent" => Self::Absent,
            _ => Self::Attached(word),
        })
    }
}

/// By which port a device came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Transport {
    /// Plain UDP.
    #[serde(rename = "coap")]
    Plain,
    /// DTLS with a pre-shared key.
    #[serde(rename = "coaps-psk")]
    Psk,
}

/// The device of a session.
#[derive(Debug, Clone, Deserialize)]
pub struct Principal {
    /// Its id, which is also its auth-id.
    pub device: String,
    /// Its tenant's id.
    pub tenant: String,
}

impl Principal {
    /// What it calls itself in the handshake.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}@{}", self.device, self.tenant)
    }

    /// The bytes it proves itself with.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        format!("key-{}", self.device).into_bytes()
    }
}

/// A request and all that followed from it.
#[derive(Debug, Clone, Deserialize)]
pub struct Exchange {
    /// What was sent.
    pub request: Request,
    /// The last message of the answer; none if none came.
    pub response: Option<Response>,
    /// Every message of the answer.
    pub stages: Vec<Stage>,
    /// What the application received, with the AMQP types.
    #[serde(default)]
    pub downstream: Vec<Value>,
}

/// A CoAP message as it was sent.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The whole message.
    #[serde(rename = "raw_hex", deserialize_with = "bytes")]
    pub raw: Vec<u8>,
    /// Its path's segments; none if the message was no request.
    #[serde(default)]
    pub uri_path: Vec<String>,
    /// Numbers, names and hexadecimal values.
    #[serde(default)]
    pub options: Vec<(u16, String, String)>,
}

/// A CoAP message as it was received.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    /// The whole message.
    #[serde(rename = "raw_hex", deserialize_with = "bytes")]
    pub raw: Vec<u8>,
    /// Such as `2.04`.
    pub code: String,
    /// Numbers, names and hexadecimal values.
    #[serde(default)]
    pub options: Vec<(u16, String, String)>,
}

/// A message of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Stage {
    /// `ACK`, `CON`, `NON` or `RST`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as `2.04`; `0.00` for an empty message.
    pub code: String,
    /// Milliseconds since the request was sent.
    pub elapsed_ms: u64,
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    };
    let bytes: Option<_> = digits.map(byte).collect();
    bytes.ok_or_else(|| D::Error::custom(format!("`{text}` is not hexadecimal")))
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
