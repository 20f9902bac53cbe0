//! Budgets in virtual time.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn budget(messages: u64, bytes: u64, handshakes: u64) -> Budget {
    let mut budget = Budget::UNLIMITED;
    (budget.messages, budget.bytes, budget.handshakes) = (messages, bytes, handshakes);
    budget
}

fn budgets(device: Budget, tenant: Budget) -> Budgets {
    let mut config = BudgetConfig::default();
    (config.device, config.tenant) = (device, tenant);
    Budgets::new(&config, Metrics::new("h"))
}

/// A message of device `name`: how many seconds it has to wait, and for whose sake.
fn message(
    budgets: &Budgets,
    at: Instant,
    name: &str,
    bytes: usize,
) -> Option<(BudgetOf, Spent, f64)> {
    let (tenant, device) = ("T".into(), name.into());
    let exhausted = budgets
        .charge_message(at, payer(&tenant, &device, None), bytes)
        .err()?;
    Some((
        exhausted.of,
        exhausted.what,
        exhausted.retry_after.as_secs_f64(),
    ))
}

const fn payer<'a>(
    tenant: &'a Arc<str>,
    device: &'a Arc<str>,
    gateway: Option<&'a Arc<str>>,
) -> Payer<'a> {
    Payer {
        tenant,
        device,
        gateway,
    }
}

#[test]
fn a_burst_of_a_minutes_worth_passes_and_then_one_after_the_other() {
    let (start, budgets) = (Instant::now(), budgets(budget(6, 0, 0), Budget::UNLIMITED));
    for _ in 0..6 {
        assert_eq!(message(&budgets, start, "d", 9999), None);
    }
    let wait = Some((BudgetOf::Device, Spent::Messages, 10.0));
    assert_eq!(message(&budgets, start, "d", 1), wait);
    assert_eq!(
        message(&budgets, start, "d", 1),
        wait,
        "a refusal costs nothing"
    );
    assert_eq!(
        message(&budgets, start, "other", 1),
        None,
        "each has its own"
    );
    let later = start + 10 * SECOND;
    assert_eq!(
        message(&budgets, later - SECOND / 2, "d", 1),
        Some((BudgetOf::Device, Spent::Messages, 0.5))
    );
    assert_eq!(message(&budgets, later, "d", 1), None);
    assert!(message(&budgets, later, "d", 1).is_some());
    let much_later = start + 3600 * SECOND;
    let passed = (0..100).filter(|_| message(&budgets, much_later, "d", 1).is_none());
    assert_eq!(
        passed.count(),
        6,
        "no more than a minute's worth is saved up"
    );
}

#[test]
fn bytes_are_counted_and_one_large_message_may_take_all() {
    let (start, budgets) = (
        Instant::now(),
        budgets(budget(0, 600, 0), Budget::UNLIMITED),
    );
    assert_eq!(message(&budgets, start, "d", 500), None);
    let wait = Some((BudgetOf::Device, Spent::Bytes, 10.0));
    assert_eq!(message(&budgets, start, "d", 200), wait);
    assert_eq!(message(&budgets, start, "d", 100), None);
    assert_eq!(message(&budgets, start, "d", 0), None, "nothing is free");
    let full = start + 60 * SECOND;
    assert_eq!(message(&budgets, full, "d", 1_000_000), None);
    let wait = Some((BudgetOf::Device, Spent::Bytes, 0.1));
    assert_eq!(message(&budgets, full, "d", 1), wait);
}

#[test]
fn what_the_tenant_has_not_left_the_device_does_not_lose() {
    let (start, budgets) = (Instant::now(), budgets(budget(2, 0, 0), budget(3, 0, 0)));
    for device in ["a", "a", "b"] {
        assert_eq!(message(&budgets, start, device, 1), None);
    }
    let wait = Some((BudgetOf::Tenant, Spent::Messages, 20.0));
    assert_eq!(message(&budgets, start, "b", 1), wait);
    let wait = Some((BudgetOf::Device, Spent::Messages, 30.0));
    assert_eq!(
        message(&budgets, start, "a", 1),
        wait,
        "the longer wait is told"
    );
    assert_eq!(message(&budgets, start + 20 * SECOND, "b", 1), None);
}

#[test]
fn handshakes_are_taken_when_they_are_proved_only() {
    let (start, budgets) = (Instant::now(), budgets(budget(0, 0, 2), Budget::UNLIMITED));
    let (tenant, device, other) = ("T".into(), "d".into(), "other".into());
    let device = payer(&tenant, &device, None);
    let other = payer(&tenant, &other, None);
    for _ in 0..100 {
        budgets.may_shake_hands(start, device).unwrap();
    }
    budgets.shook_hands(start, device);
    budgets.shook_hands(start, device);
    let exhausted = budgets.may_shake_hands(start, device).unwrap_err();
    assert_eq!(
        (exhausted.what, exhausted.retry_after),
        (Spent::Handshakes, 30 * SECOND)
    );
    assert_eq!(
        exhausted.to_string(),
        "the device has used up its handshakes of this minute"
    );
    budgets.may_shake_hands(start, other).unwrap();
    budgets
        .may_shake_hands(start + 30 * SECOND, device)
        .unwrap();
}

#[test]
fn without_limits_nothing_is_remembered_and_with_them_no_more_than_is_set() {
    let unlimited = budgets(Budget::UNLIMITED, Budget::UNLIMITED);
    assert_eq!(message(&unlimited, Instant::now(), "d", 1), None);
    assert!(unlimited.table.is_none());
    let mut config = BudgetConfig::default();
    (config.device, config.max_entries) = (budget(1, 0, 0), 10);
    let budgets = Budgets::new(&config, Metrics::new("h"));
    let start = Instant::now();
    for number in 0..1000 {
        assert_eq!(message(&budgets, start, &format!("d{number}"), 1), None);
        assert!(remembered(&budgets, start) <= 10);
    }
    assert!(message(&budgets, start, "d999", 1).is_some());
}

fn remembered(budgets: &Budgets, now: Instant) -> usize {
    budgets.table.as_ref().unwrap().lock().unwrap().fresh(now)
}

/// Symptom: a device that may not speak for another spent the other's budget. Cause: the device that
/// the path names was charged, before the registry was asked.
#[test]
fn a_gateway_pays_until_the_registry_says_that_it_may_speak_for_the_device() {
    let (start, budgets) = (Instant::now(), budgets(budget(3, 0, 0), budget(7, 0, 0)));
    let [tenant, gateway, device]: [Arc<str>; 3] = ["T".into(), "gw".into(), "d".into()];
    let own = payer(&tenant, &gateway, None);
    let passed = payer(&tenant, &device, Some(&gateway));
    for _ in 0..3 {
        budgets.charge_message(start, own, 1).unwrap();
        budgets.pass_charge(start, passed, 1).unwrap();
    }
    budgets.charge_message(start, own, 1).unwrap();
    let exhausted = budgets.pass_charge(start, passed, 1).unwrap_err();
    assert_eq!(
        (exhausted.of, exhausted.what),
        (BudgetOf::Device, Spent::Messages)
    );
    // What the registry refuses is never passed on.
    for _ in 0..3 {
        budgets.charge_message(start, own, 1).unwrap();
    }
    assert!(budgets.charge_message(start, own, 1).is_err());
    // The device's own session has its own budget, used by the gateway; the tenant's has one left.
    assert_eq!(message(&budgets, start, "other", 1), None);
    let wait = message(&budgets, start, "another", 1).unwrap();
    assert_eq!((wait.0, wait.1), (BudgetOf::Tenant, Spent::Messages));
}

/// Symptom: naming 100,000 devices that are none gave everybody a full budget again. Cause: whatever
/// a path named was remembered, and the oldest half was forgotten.
#[test]
fn a_gateway_with_many_devices_makes_no_other_budget_full_again() {
    let mut config = BudgetConfig::default();
    (config.device, config.max_entries) = (budget(1, 0, 0), 100);
    let budgets = Budgets::new(&config, Metrics::new("h"));
    let (start, tenant, gateway) = (Instant::now(), "T".into(), Arc::<str>::from("gw"));
    for number in 0..20 {
        assert_eq!(message(&budgets, start, &format!("own{number}"), 1), None);
    }
    for number in 0..1000 {
        let device = format!("d{number}").into();
        let payer = payer(&tenant, &device, Some(&gateway));
        budgets.pass_charge(start, payer, 1).unwrap();
    }
    for number in 0..20 {
        assert!(message(&budgets, start, &format!("own{number}"), 1).is_some());
    }
}

#[test]
fn a_name_that_has_proved_nothing_is_not_remembered() {
    let budgets = budgets(budget(1, 0, 0), Budget::UNLIMITED);
    let (start, tenant) = (Instant::now(), "T".into());
    for number in 0..1000 {
        let device = format!("d{number}").into();
        let payer = payer(&tenant, &device, None);
        budgets.check_message(start, payer, 1).unwrap();
    }
    assert_eq!(remembered(&budgets, start), 0);
}

#[test]
fn what_is_refused_is_counted() {
    let budgets = budgets(budget(1, 0, 0), Budget::UNLIMITED);
    let start = Instant::now();
    for _ in 0..3 {
        message(&budgets, start, "d", 1);
    }
    let page = budgets.metrics.render();
    for line in [
        r#"of="device",what="messages"} 2"#,
        r#"of="tenant",what="handshakes"} 0"#,
    ] {
        assert!(page.contains(line), "{page}");
    }
}
