//! Acknowledgements, responses and their repetition (RFC 7252 §4.2, §4.3, §4.5, §5.2; RFC 7967).

use super::*;

#[test]
fn an_early_answer_travels_in_the_acknowledgement() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    let expected = message(Type::Acknowledgement, Code::CHANGED, 7);
    assert_eq!(server.respond(exchange, changed()), [expected]);
}

#[test]
fn a_late_answer_is_a_confirmable_message_with_the_token_and_a_new_id() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    assert_eq!(
        server.acknowledge(exchange),
        [Message::empty(Type::Acknowledgement, MessageId(7))]
    );
    let sent = server.respond(exchange, changed());
    let expected = Message {
        id: sent[0].id,
        ..message(Type::Confirmable, Code::CHANGED, 7)
    };
    assert_eq!(sent, [expected]);
    assert_eq!(server.receive(&ack(sent[0].id)), []);
    let forgotten = server.now + SECOND * 247;
    assert_eq!(
        server.endpoint.poll_timeout(),
        Some(forgotten),
        "nothing to be done before"
    );
    assert_eq!(server.pass(SECOND * 200), []);
    assert_eq!(server.endpoint.statistics().confirmed, 1);
}

#[test]
fn a_non_confirmable_request_gets_a_non_confirmable_answer_and_no_acknowledgement() {
    let mut server = Server::new();
    let exchange = server.accept(&non(7));
    assert_eq!(server.acknowledge(exchange), []);
    let sent = server.respond(exchange, changed());
    assert_eq!(
        (sent[0].kind, sent[0].code, sent[0].token),
        (Type::NonConfirmable, Code::CHANGED, non(7).token)
    );
}

#[test]
fn an_unacknowledged_answer_is_sent_again_at_doubling_intervals_and_then_given_up() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    let first = server.respond(exchange, changed()).remove(0);
    let again = server.pass(SECOND * 120);
    assert_eq!(again.len(), 4, "MAX_RETRANSMIT");
    assert!(
        again.iter().all(|(_, message)| *message == first),
        "the same message each time"
    );
    let base = again[0].0;
    assert!(
        (SECOND * 2..=SECOND * 3).contains(&base),
        "{base:?} is within ACK_TIMEOUT and ACK_RANDOM_FACTOR"
    );
    let times: Vec<_> = again.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [base, base * 3, base * 7, base * 15]);
    assert_eq!(server.gave_up(), Some((exchange, GaveUpReason::TimedOut)));
    assert_eq!(server.endpoint.statistics().gave_up, 1);
}

#[test]
fn a_reset_stops_the_retransmission_and_is_told() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    let id = server.respond(exchange, changed())[0].id;
    assert_eq!(server.receive(&reset(id)), []);
    assert_eq!(server.gave_up(), Some((exchange, GaveUpReason::Reset)));
    assert_eq!(server.pass(SECOND * 100), []);
    assert_eq!(server.gave_up(), None);
}

#[test]
fn acknowledgements_of_other_peers_or_ids_or_with_a_code_stop_nothing() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    let id = server.respond(exchange, changed())[0].id;
    server.receive_from(1, &ack(id));
    server.receive(&ack(MessageId(id.0.wrapping_add(1))));
    server.receive(
        &message(Type::Acknowledgement, Code::CONTENT, id.0)
            .encode()
            .unwrap(),
    );
    assert_eq!(server.endpoint.statistics().ignored, 3);
    assert_eq!(server.pass(SECOND * 3).len(), 1);
}

#[test]
fn a_duplicate_gets_what_its_original_got_so_far() {
    let mut server = Server::new();
    let datagram = con(7).encode().unwrap();
    let exchange = server.accept(&con(7));
    assert_eq!(server.receive(&datagram), [], "undecided: ignored");
    let acknowledgement = server.acknowledge(exchange);
    assert_eq!(
        server.receive(&datagram),
        acknowledgement,
        "acknowledged: the empty ACK again"
    );
    let response = server.respond(exchange, changed().payload("late"));
    assert_eq!(
        server.receive(&datagram),
        response,
        "answered: the response again"
    );
    server.receive(&ack(response[0].id));
    assert_eq!(
        server.receive(&datagram),
        acknowledgement,
        "confirmed: an empty ACK, as the client has the response"
    );
    assert_eq!(server.request(), None, "the caller saw it once");
    assert_eq!(
        (
            server.endpoint.statistics().duplicates,
            server.endpoint.statistics().repeated
        ),
        (4, 3)
    );
}

#[test]
fn a_duplicate_of_a_non_confirmable_request_gets_the_same_answer() {
    let mut server = Server::new();
    let exchange = server.accept(&non(7));
    let response = server.respond(exchange, changed());
    assert_eq!(server.receive(&non(7).encode().unwrap()), response);
    assert_eq!(server.request(), None);
}

/// The client has the response, but got the whole of it again, to be acknowledged once more.
#[test]
fn a_repeated_request_gets_an_empty_ack_once_its_response_is_confirmed() {
    for (confirm, is_response) in [(true, false), (false, true)] {
        let mut server = Server::new();
        let exchange = server.accept(&con(7));
        let empty = server.acknowledge(exchange);
        let response = server.respond(exchange, changed().payload("command"));
        let id = response[0].id;
        server.receive(&if confirm { ack(id) } else { reset(id) });
        let expected = if is_response { response } else { empty };
        for _ in 0..3 {
            assert_eq!(server.receive(&con(7).encode().unwrap()), expected);
        }
        assert_eq!(server.endpoint.statistics().requests, 1);
        assert_eq!(server.pass(SECOND * 100), []);
    }
}

/// A NON that reused the message id of an earlier CON got that CON's ACK or separate response.
#[test]
fn a_non_with_the_id_of_an_earlier_con_is_ignored_in_every_state() {
    let reused = Message {
        token: Token::new(b"other").unwrap(),
        ..non(7)
    };
    let reused = reused.encode().unwrap();
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    assert_eq!(server.receive(&reused), [], "undecided");
    server.acknowledge(exchange);
    assert_eq!(server.receive(&reused), [], "acknowledged");
    let response = server.respond(exchange, changed());
    assert_eq!(server.receive(&reused), [], "answered");
    server.receive(&ack(response[0].id));
    assert_eq!(server.receive(&reused), [], "confirmed");
    let exchange = server.accept(&con(8));
    server.respond(exchange, changed());
    let reused = non(8).encode().unwrap();
    assert_eq!(server.receive(&reused), [], "answered in the ACK");
    assert_eq!(server.request(), None);
}

#[test]
fn the_same_id_of_another_peer_is_another_request() {
    let mut server = Server::new();
    server.accept(&con(7));
    server.receive_from(1, &con(7).encode().unwrap());
    assert!(server.request().is_some());
}

#[test]
fn an_id_may_be_used_anew_after_the_lifetime() {
    for (first, lifetime) in [(con(7), 247), (non(7), 145)] {
        let mut server = Server::new();
        let exchange = server.accept(&first);
        server.respond(exchange, changed());
        server.pass(SECOND * lifetime - Duration::from_millis(1));
        assert_ne!(
            server.receive(&first.encode().unwrap()),
            [],
            "still a duplicate"
        );
        server.pass(Duration::from_millis(1));
        server.accept(&first);
    }
}

#[test]
fn an_id_may_be_used_anew_after_the_lifetime_even_if_the_answer_came_late() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    server.pass(SECOND * 60);
    let response = server.respond(exchange, changed());
    server.receive(&ack(response[0].id));
    server.pass(SECOND * 187);
    let anew = server.accept(&con(7));
    assert_ne!(anew, exchange);
}

#[test]
fn an_acknowledged_request_may_take_longer_than_the_lifetime() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    server.pass(SECOND * 600);
    assert_eq!(
        server.respond(exchange, changed())[0].kind,
        Type::Confirmable
    );
}

/// The lifetime counts anew for the message id of the response, or its retransmission would end with that of the request.
#[test]
fn an_answer_at_the_end_of_the_lifetime_is_sent_again_like_any_other() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    server.pass(SECOND * 246);
    server.respond(exchange, changed());
    assert_eq!(server.pass(SECOND * 120).len(), 4);
    server.pass(SECOND * 127);
    assert!(server.is_empty());
}

#[test]
fn a_request_never_answered_is_abandoned_in_the_end() {
    for (request, delay) in [(con(7), 247), (non(7), 3600 + 145)] {
        let mut server = Server::new();
        let exchange = server.accept(&request);
        server.pass(SECOND * delay);
        assert!(server.is_empty());
        assert_eq!(server.endpoint.statistics().abandoned, 1);
        assert_eq!(server.respond(exchange, changed()), []);
        assert_eq!(server.endpoint.statistics().late_responses, 1);
    }
}

#[test]
fn only_the_first_response_counts() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    assert_eq!(server.respond(exchange, changed()).len(), 1);
    assert_eq!(server.respond(exchange, changed()), []);
    assert_eq!(server.acknowledge(exchange), []);
    assert_eq!(server.endpoint.statistics().late_responses, 1);
}

/// RFC 7967 §2.1, table 1: the client names the classes that it does not want. As in Hono, the
/// response that acknowledges the request is sent all the same, as a confirmable message.
#[test]
fn unwanted_responses_are_not_sent_unless_they_acknowledge_the_request() {
    let codes = [Code::CHANGED, Code::BAD_REQUEST, Code::SERVICE_UNAVAILABLE];
    for (value, wanted) in [
        (&[][..], [true, true, true]),
        (&[2], [false, true, true]),
        (&[8], [true, false, true]),
        (&[16], [true, true, false]),
        (&[24], [true, false, false]),
        (&[26], [false, false, false]),
        (&[127], [false, false, false]),
    ] {
        for (code, wanted) in codes.into_iter().zip(wanted) {
            let mut server = Server::new();
            let request = with_option(con(7), option::NO_RESPONSE, value);
            let exchange = server.accept(&request);
            let sent = server.respond(exchange, Response::new(code));
            let [sent] = &sent[..] else {
                panic!("{value:?} {code}: {sent:?}");
            };
            let kind = if wanted {
                Type::Acknowledgement
            } else {
                Type::Confirmable
            };
            let id = if wanted { MessageId(7) } else { sent.id };
            let expected = Message {
                id,
                ..message(kind, code, 7)
            };
            assert_eq!(*sent, expected, "{value:?} {code}");
            assert_eq!(
                server.receive(&request.encode().unwrap()),
                [expected],
                "{value:?} {code}, the duplicate"
            );

            let mut server = Server::new();
            let request = with_option(non(7), option::NO_RESPONSE, value);
            let exchange = server.accept(&request);
            let sent = server.respond(exchange, Response::new(code)).len();
            assert_eq!(
                sent,
                usize::from(wanted),
                "{value:?} {code}, non-confirmable"
            );
            assert_eq!(
                server.receive(&request.encode().unwrap()).len(),
                sent,
                "{value:?} {code}, its duplicate"
            );
        }
    }
}

/// A response that nobody wants was sent five times to a client that did not acknowledge it.
#[test]
fn an_unwanted_response_is_repeated_only_with_its_request() {
    let request = with_option(con(7), option::NO_RESPONSE, &[26]);
    let datagram = request.encode().unwrap();
    let mut server = Server::new();
    let exchange = server.accept(&request);
    let sent = server.respond(exchange, changed());
    assert_eq!(server.pass(SECOND * 20), []);
    assert_eq!(server.receive(&datagram), sent);
    server.receive(&ack(sent[0].id));
    let acknowledgement = [Message::empty(Type::Acknowledgement, MessageId(7))];
    assert_eq!(server.receive(&datagram), acknowledgement);
    assert_eq!(server.pass(SECOND * 300), []);
    assert!(server.is_empty());
}

#[test]
fn an_unwanted_response_may_be_replaced_by_an_empty_ack() {
    for value in [2, 26] {
        let mut server = Server::with(Config {
            suppressed_response: SuppressedResponse::EmptyAck,
            ..Config::default()
        });
        let request = with_option(con(7), option::NO_RESPONSE, &[value]);
        let exchange = server.accept(&request);
        let sent = server.respond(exchange, changed());
        assert_eq!(sent, [Message::empty(Type::Acknowledgement, MessageId(7))]);
        assert_eq!(server.receive(&request.encode().unwrap()), sent);
        assert_eq!(server.pass(SECOND * 300), []);
        assert!(server.is_empty());
    }
}

#[test]
fn an_unwanted_response_is_not_sent_after_the_acknowledgement_either() {
    let mut server = Server::new();
    let exchange = server.accept(&with_option(con(7), option::NO_RESPONSE, &[2]));
    assert_eq!(server.acknowledge(exchange).len(), 1);
    assert_eq!(server.respond(exchange, changed()), []);
    assert_eq!(server.pass(SECOND * 100), []);
    assert_eq!(server.endpoint.statistics().suppressed, 1);
}

#[test]
fn an_invalid_response_becomes_an_internal_server_error() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    let sent = server.respond(
        exchange,
        changed().option(option::LOCATION_PATH, [b'x'; 256]),
    );
    assert_eq!(
        sent,
        [message(
            Type::Acknowledgement,
            Code::INTERNAL_SERVER_ERROR,
            7
        )]
    );
    assert_eq!(server.endpoint.statistics().invalid_responses, 1);
}

#[test]
fn nothing_is_left_of_a_forgotten_peer() {
    let mut server = Server::new();
    let exchange = server.accept(&con(7));
    server.acknowledge(exchange);
    server.respond(exchange, changed());
    let undecided = server.accept(&con(8));
    server
        .endpoint
        .handle_datagram(server.now, &0, &con(9).encode().unwrap());
    server
        .endpoint
        .handle_datagram(server.now, &0, &con(7).encode().unwrap());
    server.endpoint.forget_peer(&0);
    assert!(server.is_empty());
    assert_eq!((server.sent(), server.request()), (vec![], None));
    assert_eq!(server.respond(undecided, changed()), []);
}

#[test]
fn nothing_is_left_after_all_lifetimes() {
    let mut server = Server::new();
    let piggy_backed = server.accept(&con(1));
    server.respond(piggy_backed, changed());
    let separate = server.accept(&con(2));
    server.acknowledge(separate);
    server.respond(separate, changed());
    let not = server.accept(&non(3));
    server.respond(not, changed());
    assert_eq!(server.endpoint.exchanges(), 3);
    server.pass(SECOND * 247);
    assert!(server.is_empty());
}

/// Another endpoint, with what this one remembers of peer 0.
fn taken_over(server: &Server, later: Duration) -> Server {
    let mut next = Server::new();
    next.now = server.now + later;
    for mut answered in server.endpoint.answered(server.now, &0) {
        answered.age += later;
        next.endpoint.remember(next.now, &0, None, answered);
    }
    next
}

#[test]
fn another_endpoint_knows_a_duplicate_of_what_was_answered_before() {
    let mut server = Server::new();
    let answered = server.accept(&con(7));
    let answer = server.respond(answered, changed());
    let separate = server.accept(&con(8));
    server.acknowledge(separate);
    let separate = server.respond(separate, changed());
    let silent = server.accept(&non(9));
    let response = server.respond(silent, changed());
    server.accept(&con(10));

    let mut next = taken_over(&server, SECOND * 5);
    assert_eq!(
        next.endpoint.exchanges(),
        3,
        "the open one is not among them"
    );
    assert_eq!(next.receive(&con(7).encode().unwrap()), answer);
    assert_eq!(next.receive(&con(8).encode().unwrap()), separate);
    assert_eq!(next.receive(&non(9).encode().unwrap()), response);
    assert!(next.request().is_none());
    next.accept(&con(10));
}

#[test]
fn another_endpoint_remembers_no_longer_than_the_first_would_have() {
    let mut server = Server::new();
    let answered = server.accept(&con(7));
    server.respond(answered, changed());
    let mut next = taken_over(&server, SECOND * 240);
    next.receive(&con(7).encode().unwrap());
    assert!(next.request().is_none());
    assert_eq!(next.pass(SECOND * 8), []);
    assert_eq!(next.endpoint.exchanges(), 0);
    next.accept(&con(7));
    let next = taken_over(&server, SECOND * 247);
    assert_eq!(next.endpoint.exchanges(), 0);
}
