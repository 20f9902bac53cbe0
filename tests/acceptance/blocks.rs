//! Bodies in blocks (RFC 7959, spec: coap-adapter §8): transfers that never end, jump or mix sizes end by themselves or with a word,
//! cost a bounded place, and keep nobody else from theirs.

use std::net::SocketAddr;

use acceptance::stand::Stand;
use sandbox::{
    device::{CoapRequest, Device},
    northbound::{Application, Behaviour, Outcome},
    services::Operation,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    metrics::Metrics,
    scene::{
        A_WHILE, POLL, SOON, already_asked, application, device, give, plain, stand, told, values,
    },
};

const BLOCK2: u16 = 23;
const BLOCK1: u16 = 27;
const SIZE1: u16 = 60;
const LAST: bool = false;
const MORE: bool = true;

/// The value of a block option (RFC 7959 §2.2); `size` is 16 to 1024.
fn block(num: u32, more: bool, size: u32) -> Vec<u8> {
    let exponent = size.ilog2() - 4;
    let value = (num << 4) | (u32::from(more) << 3) | exponent;
    let bytes = value.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn upload(path: &str, num: u32, more: bool, size: u32, length: usize) -> CoapRequest {
    let body = vec![b'x'; length];
    CoapRequest::put(path)
        .body(0, body)
        .option(BLOCK1, &block(num, more, size))
}

/// Sends a body of 100 bytes in two blocks, and sees that it arrives.
async fn is_taken_in_blocks(device: &mut Device, application: &mut Application, name: &str) {
    let first = device
        .request(&upload("t/T/d", 0, MORE, 64, 64), SOON)
        .await
        .unwrap();
    assert_eq!(first.code(), "2.31", "{name}");
    let last = device
        .request(&upload("t/T/d", 1, LAST, 64, 36), SOON)
        .await
        .unwrap();
    assert_eq!(last.code(), "2.04", "{name}");
    assert_eq!(values(&last, BLOCK1), [block(1, LAST, 64)], "{name}");
    assert_eq!(
        application.receive(SOON).await.unwrap().payload.len(),
        100,
        "{name}"
    );
}

/// A block: number, whether more follow, size, bytes that really come.
type Sent = (u32, bool, u32, usize);

/// The blocks of a transfer, all but the last of which are taken, and what is said to the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_goes_astray_is_ended_with_a_word_and_may_begin_anew() {
    let offset = |offset: u32, position: u32| {
        format!("request block1 offset {offset} doesn't match the current position {position}!")
    };
    let misaligned = |position, size| {
        format!("Block1 buffer position {position} doesn't align with blocksize {size}!")
    };
    let left = |length, left| format!("response {length} exceeds the left buffer {left}");
    let whole = 1024;
    let rows: [(&str, &[Sent], &str, String); 17] = [
        (
            "from the middle",
            &[(3, MORE, 64, 64)],
            "4.08",
            offset(192, 0),
        ),
        ("only an end", &[(1, LAST, 64, 3)], "4.08", offset(64, 0)),
        (
            "the highest number",
            &[(0xf_ffff, MORE, 1024, 16)],
            "4.08",
            offset(0xf_ffff * 1024, 0),
        ),
        (
            "a gap",
            &[(0, MORE, 64, 64), (2, MORE, 64, 64)],
            "4.08",
            offset(128, 64),
        ),
        (
            "back",
            &[(0, MORE, 64, 64), (1, MORE, 64, 64), (1, LAST, 64, 1)],
            "4.08",
            offset(64, 128),
        ),
        (
            "twice the size",
            &[(0, MORE, 64, 64), (1, MORE, 128, 128)],
            "4.08",
            offset(128, 64),
        ),
        (
            "half the size, same number",
            &[(0, MORE, 64, 64), (1, MORE, 32, 32)],
            "4.08",
            offset(32, 64),
        ),
        (
            "a short block",
            &[(0, MORE, 64, 63)],
            "4.08",
            misaligned(63, 64),
        ),
        (
            "a long block",
            &[(0, MORE, 16, 17)],
            "4.08",
            misaligned(17, 16),
        ),
        (
            "an empty one between",
            &[(0, MORE, 64, 64), (1, MORE, 64, 0), (2, MORE, 64, 64)],
            "4.08",
            offset(128, 64),
        ),
        (
            "a byte too much",
            &[
                (0, MORE, 1024, whole),
                (1, MORE, 1024, whole),
                (2, LAST, 1024, 1),
            ],
            "4.13",
            left(1, 0),
        ),
        (
            "3000 bytes that nobody announced",
            &[
                (0, MORE, 512, 512),
                (1, MORE, 512, 512),
                (2, MORE, 512, 512),
                (3, MORE, 512, 512),
                (4, MORE, 512, 512),
            ],
            "4.13",
            left(512, 0),
        ),
        (
            "the last too long",
            &[(0, MORE, 1024, whole), (1, LAST, 1024, 1025)],
            "4.13",
            left(1025, 1024),
        ),
        (
            "a size for other transports",
            &[(0, MORE, 2048, 64)],
            "4.00",
            String::new(),
        ),
        (
            "half the size",
            &[(0, MORE, 64, 64), (2, MORE, 32, 32), (6, LAST, 16, 1)],
            "2.04",
            String::new(),
        ),
        (
            "twice the size where it fits",
            &[(0, MORE, 32, 32), (1, MORE, 32, 32), (1, LAST, 64, 1)],
            "2.04",
            String::new(),
        ),
        ("a single block", &[(0, LAST, 64, 3)], "2.04", String::new()),
    ];
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    let mut served = 0;
    for (name, sent, code, text) in rows {
        for port in &mut ports {
            let (last, before) = sent.split_last().unwrap();
            for (num, more, size, length) in before.iter().copied() {
                let request = upload("t/T/d", num, more, size, length);
                let response = port.request(&request, SOON).await.unwrap();
                assert_eq!(response.code(), "2.31", "{name}: block {num}");
                assert_eq!(values(&response, BLOCK1).len(), 1, "{name}: block {num}");
            }
            let (num, more, size, length) = *last;
            let response = port
                .request(&upload("t/T/d", num, more, size, length), SOON)
                .await
                .unwrap();
            assert_eq!(response.code(), code, "{name}");
            if code == "2.04" {
                let all: usize = sent.iter().map(|(.., length)| length).sum();
                assert_eq!(
                    application.receive(SOON).await.unwrap().payload.len(),
                    all,
                    "{name}"
                );
            } else {
                served -= 1;
                if !text.is_empty() {
                    assert_eq!(told(&response).1, text, "{name}");
                }
            }
            served += 2;
            is_taken_in_blocks(port, &mut application, name).await;
        }
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    // What the transport refuses is no message: it is not counted (spec: coap-adapter §8).
    let metrics = Metrics::of(&stand).await;
    let counted = |status: &str| {
        let labels = [("tenant", "T"), ("status", status)];
        metrics.sum("hono_telemetry_payload_bytes_count", &labels)
    };
    assert_eq!(counted("forwarded"), f64::from(served));
    assert_eq!(
        [counted("unprocessable"), counted("undeliverable")],
        [0.0, 0.0]
    );
    stand.stop().await;
}

/// What is announced, and what comes in one piece (spec: coap-adapter §8, §11 no. 7).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_too_large_is_refused_however_it_comes() {
    let limit = 2048_u16.to_be_bytes();
    let announced = |size: &[u8]| upload("t/T/d", 0, MORE, 64, 64).option(SIZE1, size);
    let in_one = |length| CoapRequest::put("e/T/d").body(0, vec![b'x'; length]);
    let words = "body too large, max. 2048 bytes";
    let rows = [
        ("announced", announced(&2049_u16.to_be_bytes()), true),
        ("announced with 4 GB", announced(&[0xff; 4]), true),
        ("in one", in_one(2049), true),
        (
            "in one of many",
            in_one(1900).option(SIZE1, &[0xff; 3]),
            false,
        ),
        ("at the limit", in_one(2048), false),
    ];
    let settings = [("HONO_COAP_MAXPAYLOADSIZE", "2048")];
    let stand = Stand::start(crate::scene::world(), &settings)
        .await
        .unwrap();
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    for port in &mut ports {
        for (name, request, refused) in &rows {
            let response = port.request(request, SOON).await.unwrap();
            if *refused {
                assert_eq!(
                    told(&response),
                    ("4.13".to_owned(), words.to_owned()),
                    "{name}"
                );
                assert_eq!(values(&response, SIZE1), [limit], "{name}");
            } else {
                assert_eq!(response.code(), "2.04", "{name}");
                assert!(application.receive(SOON).await.is_some(), "{name}");
            }
        }
        // More than was announced is too much, too, if it is less than allowed.
        let first = announced(&[100]);
        assert_eq!(port.request(&first, SOON).await.unwrap().code(), "2.31");
        let second = upload("t/T/d", 1, LAST, 64, 37);
        let response = port.request(&second, SOON).await.unwrap();
        let text = "response 37 exceeds the left buffer 36";
        assert_eq!(told(&response), ("4.13".to_owned(), text.to_owned()));
        is_taken_in_blocks(port, &mut application, "afterwards").await;
        // What the body is must not change on the way.
        let first = upload("t/T/d", 0, MORE, 64, 64);
        assert_eq!(port.request(&first, SOON).await.unwrap().code(), "2.31");
        let mut second = CoapRequest::put("t/T/d").body(50, vec![b'x'; 64]);
        second = second.option(BLOCK1, &block(1, LAST, 64));
        let response = port.request(&second, SOON).await.unwrap();
        let text = "unexpected Content-Format";
        assert_eq!(told(&response), ("4.08".to_owned(), text.to_owned()));
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

const PEERS: usize = 100;
const TRANSFERS_EACH: usize = 100;
/// The youngest of a peer's are kept.
const KEPT_EACH: usize = 16;

/// Ten thousand transfers begin and never go on. Others end theirs as if nothing was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_transfers_that_never_end_keep_nobody_from_theirs() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    for port in &mut ports {
        let first = port
            .request(&upload("e/T/d", 0, MORE, 512, 512), SOON)
            .await
            .unwrap();
        assert_eq!(first.code(), "2.31");
    }
    let mut peers = JoinSet::new();
    for _ in 0..PEERS {
        peers.spawn(begin_and_never_end(stand.coap()));
    }
    for (youngest, oldest) in peers.join_all().await {
        assert_eq!(youngest, "2.04");
        assert_eq!(oldest, "4.08");
        assert_eq!(application.receive(SOON).await.unwrap().payload.len(), 513);
    }
    for port in &mut ports {
        let last = port
            .request(&upload("e/T/d", 1, LAST, 512, 88), SOON)
            .await
            .unwrap();
        assert_eq!(last.code(), "2.04");
        assert_eq!(application.receive(SOON).await.unwrap().payload.len(), 600);
    }
    // One more than is kept goes for each one that comes.
    let gone = u32::try_from(PEERS * (TRANSFERS_EACH - KEPT_EACH)).unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        let metrics = Metrics::of(&stand).await;
        let evicted = metrics.sum(
            "coap_adapter_coap_evicted_transfers_total",
            &[("transport", "udp")],
        );
        if evicted.total_cmp(&f64::from(gone)).is_eq() {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{evicted} instead of {gone} are gone"
        );
        sleep(POLL).await;
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    stand.stop().await;
}

/// Begins transfers to as many targets, and tells what becomes of the youngest and of the oldest when they go on.
async fn begin_and_never_end(server: SocketAddr) -> (String, String) {
    let mut device = Device::plain(server).await.unwrap();
    let target = |number: usize| format!("n={number}");
    for number in 0..TRANSFERS_EACH {
        let request = upload("t/T/d", 0, MORE, 512, 512).query(&target(number));
        let response = device.request(&request, SOON * 3).await.unwrap();
        assert_eq!(response.code(), "2.31");
    }
    let end = |number| upload("t/T/d", 1, LAST, 512, 1).query(&target(number));
    let youngest = device
        .request(&end(TRANSFERS_EACH - 1), SOON * 3)
        .await
        .unwrap();
    let oldest = device.request(&end(0), SOON * 3).await.unwrap();
    (youngest.code(), oldest.code())
}

/// A command larger than a block: each block is asked for, which is no message and no new wait, and nobody else gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_command_is_fetched_in_blocks() {
    let stand = stand().await;
    let mut application = application(&stand, "T", Behaviour::Accept).await;
    let mut asked = stand.sandbox().services().asked();
    let body: Vec<u8> = (0..1500_u32).map(|place| place.to_be_bytes()[3]).collect();
    let waiting = || {
        CoapRequest::put("e/T/d")
            .query("empty")
            .query("hono-ttd=60")
    };
    let mut ports = [device(&stand, "sensor").await, plain(&stand).await];
    let mut other = plain(&stand).await;
    for port in &mut ports {
        let request = waiting();
        let (first, outcome) = tokio::join!(port.request(&request, SOON), async {
            assert!(application.receive(SOON).await.is_some());
            give(&application, "d", body.clone()).await
        });
        assert_eq!(outcome, Some(Outcome::Accepted));
        let first = first.unwrap();
        assert_eq!(first.code(), "2.04");
        assert_eq!(values(&first, BLOCK2), [block(0, MORE, 512)]);
        let mut received = first.payload;
        for (num, more) in [(1, MORE), (2, LAST)] {
            let next = waiting().option(BLOCK2, &block(num, LAST, 512));
            let stranger = other.request(&next, SOON).await.unwrap();
            let text = format!("nothing is kept of which to send block {num}!");
            assert_eq!(told(&stranger), ("4.08".to_owned(), text));
            let next = port.request(&next, SOON).await.unwrap();
            assert_eq!(next.code(), "2.04");
            assert_eq!(values(&next, BLOCK2), [block(num, more, 512)]);
            received.extend(next.payload);
        }
        assert_eq!(received, body);
    }
    assert_eq!(application.receive(A_WHILE).await, None);
    assert_eq!(
        already_asked(&mut asked, Operation::RegisterConsumer).len(),
        2
    );
    stand.stop().await;
}
