//! Several listeners on one port: who gets a record, who has a session, whoever the kernel gives it to.

use std::collections::BTreeSet;

use dtls_server::ConnectionIds;

use super::*;

fn config() -> Config {
    let mut config = Config::default();
    config.connection_ids = ConnectionIds::new(8, 0, 0).ok();
    config
}

fn port(count: usize, store: &Arc<Store>) -> (Shards<Store>, SocketAddr) {
    let sockets = UdpSocket::bind_shards("127.0.0.1:0".parse().unwrap(), count).unwrap();
    let address = sockets[0].local_address().unwrap();
    (Shards::new(sockets, &config(), [7; 32], store), address)
}

/// Ends a port and begins another with its sessions, which are so many.
pub(crate) async fn restart(
    listeners: Vec<Listener<Store>>,
    count: usize,
    store: &Arc<Store>,
    sessions: usize,
) -> Vec<Listener<Store>> {
    let address = listeners[0].local_address().unwrap();
    let saved = Shards::save(listeners, |_, _, principal| principal.as_bytes().to_vec());
    let sockets = UdpSocket::bind_shards(address, count).unwrap();
    let mut port = Shards::new(sockets, &config(), [8; 32], store);
    let loaded = port.load(&saved, |_, _, bytes| {
        let principal = String::from_utf8(bytes.to_vec()).unwrap();
        (principal != "unreadable").then_some(principal)
    });
    assert_eq!(loaded, Ok(sessions));
    port.into_listeners()
}

type Told = (usize, Event<String, &'static str>);

/// What one of the listeners tells next, all of them being served.
async fn next_of(listeners: &mut [Listener<Store>]) -> Told {
    let mut all: Vec<_> = listeners
        .iter_mut()
        .map(|listener| Box::pin(listener.next()))
        .collect();
    let first = std::future::poll_fn(|context| {
        for (shard, next) in all.iter_mut().enumerate() {
            if let std::task::Poll::Ready(event) = next.as_mut().poll(context) {
                return std::task::Poll::Ready((shard, event.unwrap()));
            }
        }
        std::task::Poll::Pending
    });
    timeout(LIMIT, first).await.unwrap()
}

/// Lets a device in, and tells which listener did.
async fn welcome(device: &mut Device, listeners: &mut [Listener<Store>]) -> usize {
    let ((), (shard, event)) = tokio::join!(device.greet(), next_of(listeners));
    assert!(matches!(event, Event::Established { .. }), "{event:?}");
    shard
}

/// A device is heard and answered, and so hears; tells by which listener.
async fn converse(device: &mut Device, listeners: &mut [Listener<Store>]) -> usize {
    device.say(b"here").await;
    let (shard, event) = next_of(listeners).await;
    let Event::ApplicationData { association, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(listeners[shard].send(association, b"heard"), Ok(()));
    drop(timeout(Duration::from_millis(1), listeners[shard].next()).await);
    let heard = device.event().await;
    assert_eq!(heard, DeviceEvent::ApplicationData(b"heard".to_vec()));
    shard
}

async fn with_id(address: SocketAddr) -> Device {
    let mut config = ClientConfig::new("sensor1@T", b"secret");
    config.connection_id = Some(Vec::new());
    Device::with(config, address).await
}

/// Goes on from another address.
async fn move_away(device: &mut Device, server: SocketAddr) {
    device.socket = TokioSocket::bind("127.0.0.1:0").await.unwrap();
    device.socket.connect(server).await.unwrap();
}

#[tokio::test]
async fn a_record_with_an_id_reaches_its_session_from_any_address() {
    let store = Store::new();
    let (port, address) = port(2, &store);
    let mut listeners = port.into_listeners();
    let mut device = with_id(address).await;
    let owner = welcome(&mut device, &mut listeners).await;
    let other = 1 - owner;
    let mut moves = 0_u64;
    while listeners[other].passed_on().datagrams < 3 {
        assert!(moves < 200, "the kernel never chose the other shard");
        moves += 1;
        move_away(&mut device, address).await;
        assert_eq!(converse(&mut device, &mut listeners).await, owner);
    }
    assert_eq!(listeners[owner].passed_on().datagrams, 0);
    assert_eq!(listeners[other].passed_on().lost, 0);
    assert_eq!(listeners[owner].statistics().address_changes, moves);
    assert_eq!(listeners[other].statistics().handshakes_started, 0);
}

#[tokio::test]
async fn what_a_shard_does_not_take_in_time_is_lost_and_counted() {
    let store = Store::new();
    let (port, address) = port(2, &store);
    let mut listeners = port.into_listeners();
    let mut device = with_id(address).await;
    let owner = welcome(&mut device, &mut listeners).await;
    let other = 1 - owner;
    while listeners[other].passed_on().datagrams == 0 {
        move_away(&mut device, address).await;
        converse(&mut device, &mut listeners).await;
    }
    // The owner takes nothing for a while.
    let sent = 1000;
    for _ in 0..sent {
        device.say(b"here").await;
        drop(timeout(Duration::ZERO, listeners[other].next()).await);
    }
    let heard = async {
        while listeners[other].statistics().datagrams
            + listeners[other].passed_on().datagrams
            + listeners[other].passed_on().lost
            <= sent
        {
            drop(timeout(Duration::from_millis(5), listeners[other].next()).await);
        }
    };
    timeout(LIMIT, heard).await.unwrap();
    let passed_on = listeners[other].passed_on();
    assert!(passed_on.lost > 0, "{passed_on:?}");
    // One source has a quarter of the 512 places.
    assert!(passed_on.datagrams >= 128, "{passed_on:?}");
    // What was not lost is served, and so is what comes then.
    for _ in 0..128 {
        let (shard, event) = next_of(&mut listeners[owner..=owner]).await;
        assert_eq!(shard, 0);
        assert!(matches!(event, Event::ApplicationData { .. }), "{event:?}");
    }
    assert_eq!(converse(&mut device, &mut listeners).await, owner);
}

/// However many shards there were and are, and whoever the kernel gives their records to: nobody has to shake hands again.
#[tokio::test]
async fn sessions_go_on_with_another_number_of_shards() {
    let store = Store::new();
    let (port, address) = port(3, &store);
    let mut listeners = port.into_listeners();
    let mut devices = Vec::new();
    for number in 0..20 {
        let mut device = match number % 2 {
            0 => with_id(address).await,
            _ => Device::new("sensor1@T", address).await,
        };
        welcome(&mut device, &mut listeners).await;
        devices.push(device);
    }
    for count in [2, 1, 4] {
        listeners = restart(listeners, count, &store, 20).await;
        let mut served = BTreeSet::new();
        for device in &mut devices {
            served.insert(converse(device, &mut listeners).await);
        }
        assert_eq!(served.len(), count, "all shards have some");
        // An address stays where it is, also for a new handshake, which then takes the place of the old session.
        let old = devices.pop().unwrap();
        let sessions: usize = listeners.iter().map(|it| it.gauges().sessions).sum();
        let mut new = Device {
            socket: old.socket,
            ..Device::new("sensor1@T", address).await
        };
        let ((), (shard, event)) = tokio::join!(new.greet(), next_of(&mut listeners));
        let replaced = CloseReason::Replaced;
        assert!(
            matches!(event, Event::Closed { reason, .. } if reason == replaced),
            "{event:?}"
        );
        let (same, event) = next_of(&mut listeners).await;
        assert!(matches!(event, Event::Established { .. }), "{event:?}");
        assert_eq!(same, shard);
        devices.push(new);
        let now: usize = listeners.iter().map(|it| it.gauges().sessions).sum();
        assert_eq!(now, sessions);
    }
}

#[tokio::test]
async fn where_each_may_have_one_session_the_older_is_closed_on_whichever_shard() {
    let store = Store::new();
    let (port, address) = port(2, &store);
    let mut listeners = port.with_one_session_each().into_listeners();
    let mut device = Device::new("sensor1@T", address).await;
    let mut shard = welcome(&mut device, &mut listeners).await;
    let mut across = 0;
    for _ in 0..200 {
        let mut newer = Device::new("sensor1@T", address).await;
        let welcomed = welcome(&mut newer, &mut listeners).await;
        let (closed, event) = next_of(&mut listeners).await;
        assert!(matches!(event, Event::Closed { .. }), "{event:?}");
        assert_eq!(closed, shard);
        let told = device.event().await;
        assert_eq!(told, DeviceEvent::Closed(DeviceReason::PeerClosed));
        across += usize::from(welcomed != shard);
        (device, shard) = (newer, welcomed);
        if across == 3 {
            break;
        }
    }
    assert_eq!(across, 3);
    assert_eq!(converse(&mut device, &mut listeners).await, shard);
    let sessions: usize = listeners.iter().map(|it| it.gauges().sessions).sum();
    assert_eq!(sessions, 1);
}
