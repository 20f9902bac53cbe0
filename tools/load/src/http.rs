//! One GET over plain HTTP/1.1, to ask the adapter on this machine how it is.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// The body of a good answer.
pub(crate) fn get(server: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // With 1.0 the answer ends with the connection, in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(LARGEST).read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or(ErrorKind::UnexpectedEof)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(
            head.lines().next().unwrap_or_default().to_owned(),
        )),
    }
}

/// Longer is no answer of an adapter that is well.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes.
const LARGEST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    #[test]
    fn a_good_answer_has_a_body_and_a_bad_one_is_told() {
        for (answer, wanted) in [
            ("HTTP/1.0 200 OK\r\n\r\nup\n", Ok("up\n")),
            ("HTTP/1.1 503 Down\r\n\r\n", Err("HTTP/1.1 503 Down")),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let server = listener.local_addr().unwrap();
            let serving = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 18];
                stream.read_exact(&mut request).unwrap();
                assert_eq!(&request, b"GET /up HTTP/1.0\r\n");
                stream.write_all(answer.as_bytes()).unwrap();
                drop(stream.shutdown(std::net::Shutdown::Write));
                drop(stream.read_to_end(&mut Vec::new()));
            });
            let reported = super::get(server, "/up").map_err(|error| error.to_string());
            assert_eq!(reported, wanted.map(str::to_owned).map_err(str::to_owned));
            serving.join().unwrap();
        }
    }
}
