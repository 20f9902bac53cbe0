//! The API server by plain HTTP, through `kubectl proxy`.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where requests go.
#[derive(Clone, Copy)]
pub(super) struct Api {
    pub(super) proxy: SocketAddr,
}

impl Api {
    /// Reads an object or a list; none if there is none.
    pub(super) fn get(&self, path: &str) -> Result<Option<Value>> {
        let (code, body) = request(self.proxy, "GET", path, None)?;
        match code {
            200 => Ok(Some(serde_json::from_str(&body)?)),
            404 => Ok(None),
            _ => bail!("GET {path}: {code} {body}"),
        }
    }

    /// The objects of a list.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.get(path)?.unwrap_or_default();
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Makes an object; one that is there already is no error.
    pub(super) fn post(&self, path: &str, body: &Value) -> Result<()> {
        self.change(
            "POST",
            "application/json",
            path,
            body,
            &[200, 201, 202, 409],
        )
    }

    /// Changes some members of an object; one that is gone is no error.
    pub(super) fn patch(&self, path: &str, body: &Value) -> Result<()> {
        self.change(
            "PATCH",
            "application/merge-patch+json",
            path,
            body,
            &[200, 404],
        )
    }

    /// Removes an object at once.
    pub(super) fn delete(&self, path: &str) -> Result<()> {
        let now = serde_json::json!({"gracePeriodSeconds": 0});
        self.change("DELETE", "application/json", path, &now, &[200, 202, 404])
    }

    fn change(&self, verb: &str, kind: &str, path: &str, body: &Value, fine: &[u16]) -> Result<()> {
        let (code, reported) = request(self.proxy, verb, path, Some((kind, &body.to_string())))?;
        if fine.contains(&code) {
            return Ok(());
        }
        bail!("{verb} {path}: {code} {reported}")
    }
}

/// One request on a connection of its own; the code and the body of the answer.
pub(super) fn request(
    address: SocketAddr,
    verb: &str,
    path: &str,
    body: Option<(&str, &str)>,
) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    // By HTTP/1.0 the answer ends with the connection, and comes in one piece.
    let mut text = format!("{verb} {path} HTTP/1.0\r\nHost: localhost\r\n");
    if let Some((kind, body)) = body {
        text += &format!(
            "Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    } else {
        text += "\r\n";
    }
    stream.write_all(text.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("this is no HTTP")?;
    let code = head
        .split_whitespace()
        .nth(1)
        .and_then(|code| code.parse().ok());
    Ok((code.context("the answer has no code")?, body.to_owned()))
}

const WAIT: Duration = Duration::from_secs(10);
