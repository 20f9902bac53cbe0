//! Registry look-ups over AMQP.
