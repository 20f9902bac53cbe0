//! An adversary that speaks DTLS well enough to lie: it has keys of its own, a transcript true to what it said, and no manners.
//!
//! What is asked of the server here: nobody is let in who has not said everything, once, in an order that a network could have
//! made; nothing that is sent makes it panic; and when the adversary is gone nothing of it is left.
//!
//! | promise | here | in `tests/simulation` |
//! | --- | --- | --- |
//! | messages skipped, repeated, reordered, foreign | `order` | `hostile`, `certificates` |
//! | missing, empty, wrong CertificateVerify; certificates without it | `proof` | `certificates::a_wrong_or_empty_certificate_verify_is_refused_and_nobody_is_asked` and the test after it |
//! | plaintext data at epoch 0; early high epochs and numbers | `epochs` | `hostile::plaintext_data_and_unknown_epochs_are_dropped` |
//! | lying lengths and cuts at every byte of every message | `lengths` | `bytes::every_datagram_cut_off_anywhere_is_survived` |
//! | empty and overlapping fragments | `fragments` | unit tests of `reassembly` |
//! | connection ids of 0 to 255 bytes | `identifiers` | `connection_ids::ids_of_nobody_and_of_every_length_are_dropped` |
//! | a ClientHello from the address of a live session | `vulnerabilities`, `floods` | `live::a_new_handshake_replaces_the_old_association_only_when_it_is_done` |
//! | floods of handshakes and of hellos | `floods` | `floods`, `limits` |
//! | ids and tickets of others | `vulnerabilities` | `resumption::whoever_saw_an_id_or_a_ticket_does_not_get_in_and_does_no_harm` |
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../simulation/pki.rs"]
#[expect(dead_code, reason = "the simulation uses all of it")]
mod pki;
mod target;
mod peer;
mod order;
mod proof;
mod lengths;
mod fragments;
mod epochs;
mod identifiers;
mod floods;
mod vulnerabilities;
mod alerts;
