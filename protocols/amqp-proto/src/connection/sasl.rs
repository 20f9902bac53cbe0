//! Who we are (AMQP 1.0 part 5 §5.3): the peer offers mechanisms, we take the one that fits, the peer tells its verdict.

use fe2o3_amqp_types::sasl::{SaslCode, SaslMechanisms, SaslOutcome};

use super::{Connection, State};
use crate::{CloseReason, DecodeError, frame};

impl Connection {
    pub(super) fn on_mechanisms(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let offered: SaslMechanisms = serde_amqp::from_slice(body).map_err(DecodeError::value)?;
        let mechanism = self.config.sasl.mechanism();
        let mut offered = offered.sasl_server_mechanisms.0.iter();
        if !offered.any(|offered| offered.as_str() == mechanism) {
            self.end(CloseReason::Mechanism(mechanism));
            return Ok(());
        }
        let response = self.config.sasl.initial_response();
        let hostname = self.config.hostname.as_deref();
        frame::write_sasl_init(&mut self.outbox, mechanism, &response, hostname);
        self.state = State::AwaitSaslOutcome;
        Ok(())
    }

    pub(super) fn on_sasl_outcome(&mut self, body: &[u8]) -> Result<(), DecodeError> {
        let outcome: SaslOutcome = serde_amqp::from_slice(body).map_err(DecodeError::value)?;
        match outcome.code {
            SaslCode::Ok => self.say_hello(),
            refused => self.end(CloseReason::Authentication(refused as u8)),
        }
        Ok(())
    }
}
