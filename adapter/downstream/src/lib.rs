//! AMQP 1.0 links to the messaging network.
