//! Who gets a permit, in which order, and who does not.

use std::sync::Mutex;
use std::time::Duration;

use fair_share::HolderHasher;
use tokio::time::{sleep, timeout};

use super::*;

/// Asks for a permit in a task, and keeps it for `time`; notes who had one.
fn use_permit(
    semaphore: &FairSemaphore,
    holder: Holder,
    name: &'static str,
    time: Duration,
    log: &Arc<Mutex<Vec<&'static str>>>,
) -> tokio::task::JoinHandle<bool> {
    let (semaphore, log) = (semaphore.clone(), Arc::clone(log));
    tokio::spawn(async move {
        let Ok(_permit) = semaphore.acquire(holder).await else {
            return false;
        };
        log.lock().unwrap().push(name);
        sleep(time).await;
        true
    })
}

/// Symptom: the look-ups of one address made all others wait. Cause: one queue for all.
#[tokio::test(start_paused = true)]
async fn a_newcomer_gets_the_next_permit_whatever_waits_before() {
    let (hasher, semaphore) = (HolderHasher::default(), FairSemaphore::new(3, 1000));
    let (greedy, modest) = (hasher.holder(&1, &1), hasher.holder(&2, &1));
    let log = Arc::default();
    let second = Duration::from_secs(1);
    for _ in 0..100 {
        drop(use_permit(&semaphore, greedy, "greedy", second, &log));
    }
    tokio::task::yield_now().await;
    assert_eq!(semaphore.available(), 1, "a group leaves some to others");
    for _ in 0..3 {
        drop(use_permit(&semaphore, modest, "modest", second, &log));
    }
    sleep(second * 3).await;
    let log = log.lock().unwrap();
    assert!(
        log.iter().take(7).filter(|it| **it == "modest").count() == 3,
        "{log:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn members_of_a_group_take_turns() {
    let (hasher, semaphore) = (HolderHasher::default(), FairSemaphore::new(1, 1000));
    let log = Arc::default();
    let second = Duration::from_secs(1);
    for _ in 0..50 {
        drop(use_permit(
            &semaphore,
            hasher.holder(&1, &1),
            "greedy",
            second,
            &log,
        ));
    }
    for _ in 0..3 {
        drop(use_permit(
            &semaphore,
            hasher.holder(&1, &2),
            "modest",
            second,
            &log,
        ));
    }
    sleep(second * 8).await;
    let log = log.lock().unwrap();
    let modest = log.iter().take(8).filter(|it| **it == "modest").count();
    assert!(modest >= 3, "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn one_holder_alone_has_all_but_a_share_and_everything_comes_back() {
    let (hasher, semaphore) = (HolderHasher::default(), FairSemaphore::new(30, 1000));
    let holder = hasher.holder(&1, &1);
    let mut permits = Vec::new();
    while let Ok(Ok(permit)) = timeout(Duration::from_secs(1), semaphore.acquire(holder)).await {
        permits.push(permit);
    }
    assert_eq!((permits.len(), semaphore.waiting()), (20, 0));
    permits.clear();
    assert_eq!(semaphore.available(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_sheds_the_requests_of_who_has_most() {
    let (hasher, semaphore) = (HolderHasher::default(), FairSemaphore::new(1, 10));
    let log = Arc::default();
    let second = Duration::from_secs(1);
    let held = semaphore.acquire(hasher.holder(&0, &0)).await.unwrap();
    let greedy = hasher.holder(&1, &1);
    let greedy: Vec<_> = (0..10)
        .map(|_| use_permit(&semaphore, greedy, "greedy", second, &log))
        .collect();
    tokio::task::yield_now().await;
    let modest = use_permit(&semaphore, hasher.holder(&2, &1), "modest", second, &log);
    tokio::task::yield_now().await;
    assert_eq!(semaphore.waiting(), 10);
    drop(held);
    assert!(modest.await.unwrap(), "the newcomer was shed");
    let mut served = 0;
    for task in greedy {
        served += usize::from(task.await.unwrap());
    }
    assert_eq!(served, 9);
    assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_leaves_the_queue_and_loses_no_permit() {
    let (hasher, semaphore) = (HolderHasher::default(), FairSemaphore::new(1, 10));
    let held = semaphore.acquire(hasher.holder(&0, &0)).await.unwrap();
    let waiting = semaphore.acquire(hasher.holder(&1, &1));
    assert!(timeout(Duration::from_secs(1), waiting).await.is_err());
    assert_eq!(semaphore.waiting(), 0);
    // Granted, but dropped before it was polled again.
    let mut granted = Box::pin(semaphore.acquire(hasher.holder(&1, &1)));
    assert!(
        timeout(Duration::from_millis(1), &mut granted)
            .await
            .is_err()
    );
    drop(held);
    assert_eq!(semaphore.available(), 0);
    drop(granted);
    assert_eq!((semaphore.available(), semaphore.waiting()), (1, 0));
}
