//! Isolation: one attacker at a time, and victims that are served during and after each attack
//! (docs/security.md, "Bounds and shares").
//!
//! Each attack runs with little and with much memory, over DTLS with and without connection ids,
//! and on the port without security where there is something to attack. The victims are devices of
//! the attacker's tenant and of another one, with sessions and without, at the attacker's address,
//! in its source prefix and elsewhere.

mod attacks;
mod bounds;
mod gauges;
mod victims;

use std::net::{IpAddr, Ipv4Addr};

use acceptance::stand::Stand;
use sandbox::world::World;

use self::victims::Victims;

/// The attacker's address.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 1));
/// Another address in the attacker's source prefix.
const NEIGHBOUR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 77));
/// An address in another source prefix.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9));

/// `acme` has the attacker's device `mallory`, a gateway, and victims; `other` has victims only;
/// `greedy` has an attacker's device, and an application of the attacker's;
/// nothing is heard of `late` before the attack is over.
const WORLD: &str = "
tenants:
  acme:
    devices:
      mallory: { credentials: [{ type: psk, auth-id: mallory, key: k }] }
      victim: { credentials: [{ type: psk, auth-id: victim, key: k }] }
      newcomer: { credentials: [{ type: psk, auth-id: newcomer, key: k }] }
      behind: { via: [gateway] }
      gateway: { credentials: [{ type: psk, auth-id: gateway, key: k }] }
  other:
    devices:
      victim: { credentials: [{ type: psk, auth-id: victim, key: k }] }
      newcomer: { credentials: [{ type: psk, auth-id: newcomer, key: k }] }
  greedy:
    devices:
      hog: { credentials: [{ type: psk, auth-id: hog, key: k }] }
  late:
    devices:
      latecomer: { credentials: [{ type: psk, auth-id: latecomer, key: k }] }
";

/// What an attack runs against.
#[derive(Debug, Clone, Copy)]
struct Setting {
    max_memory: &'static str,
    connection_ids: ConnectionIds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionIds {
    Off,
    On,
}

const SETTINGS: [Setting; 4] = [
    Setting {
        max_memory: "67108864",
        connection_ids: ConnectionIds::Off,
    },
    Setting {
        max_memory: "67108864",
        connection_ids: ConnectionIds::On,
    },
    Setting {
        max_memory: "536870912",
        connection_ids: ConnectionIds::Off,
    },
    Setting {
        max_memory: "536870912",
        connection_ids: ConnectionIds::On,
    },
];

/// Runs an attack in each setting, and asserts that each victim is served meanwhile and afterwards,
/// and that gauges return to what they were.
async fn victims_are_served<F>(settings: &[(&str, &str)], attack: F)
where
    F: AsyncFn(&Stand, Setting),
{
    for setting in SETTINGS {
        let world = World::from_yaml("isolation", WORLD).unwrap();
        let mut all = vec![("HONO_APP_MAXMEMORY", setting.max_memory)];
        if setting.connection_ids == ConnectionIds::On {
            all.push(("HONO_COAP_CONNECTIONIDLENGTH", "6"));
        }
        all.extend(settings);
        let stand = Stand::start(world, &all).await.unwrap();
        let victims = Victims::start(&stand, setting).await;
        attack(&stand, setting).await;
        victims.assert_served(&stand, setting).await;
        stand.stop().await;
    }
}
