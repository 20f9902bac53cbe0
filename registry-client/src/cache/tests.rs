//! The rules of keeping answers (spec: registry-apis A.2), with counted requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fair_share::{Holder, HolderHasher};
use tokio::sync::Notify;

use super::{Answer, Answers, CacheConfig};
use crate::ServiceError;

/// A service that counts what it is asked, and answers with that count.
#[derive(Default)]
struct Service(AtomicUsize);

impl Service {
    async fn answer(&self, config: &CacheConfig, status: u16, directive: &str) -> Answer<usize> {
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Answer {
            outcome: match status {
                200 => Ok(Arc::new(count)),
                _ => Err(ServiceError::new(status, count.to_string())),
            },
            lifetime: config.lifetime(status, Some(directive)),
        }
    }
}

#[tokio::test]
async fn a_second_question_costs_a_request_only_if_the_answer_was_not_kept() {
    let config = CacheConfig::default();
    let disabled = CacheConfig {
        max_size: 0,
        ..config
    };
    for (line, config, status, directive, requests) in [
        ("A.2 rule 1", config, 200, "no-cache", 2),
        ("A.2 rule 2", config, 200, "max-age = 180", 1),
        ("A.2 rule 3", config, 200, "", 1),
        ("A.2 rule 3", config, 410, "", 1),
        ("A.2, 404 is never cached", config, 404, "max-age = 180", 2),
        ("A.2, 503 is never cached", config, 503, "", 2),
        (
            "A.2, maximum size 0 disables",
            disabled,
            200,
            "max-age = 180",
            2,
        ),
    ] {
        let (answers, service) = (Answers::<&str, _>::new(&config), Service::default());
        let first = answers.find("key", holder, || service.answer(&config, status, directive));
        let first = first.await;
        let second = answers.find("key", holder, || service.answer(&config, status, directive));
        let second = second.await;
        assert_eq!(service.0.into_inner(), requests, "{line}");
        assert_eq!(first == second, requests == 1, "{line}");
    }
}

fn holder() -> Holder {
    HolderHasher::default().holder(&1, &1)
}

#[tokio::test(start_paused = true)]
async fn an_answer_ages_from_the_time_it_was_written() {
    let (config, service) = (CacheConfig::default(), Service::default());
    let answers = Answers::<&str, _>::new(&config);
    for (seconds, count) in [(0, 1), (8, 1), (2, 2), (8, 2)] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let ask = || service.answer(&config, 200, "max-age = 9");
        let answer = answers.find("key", holder, ask).await;
        assert_eq!(answer, Ok(Arc::new(count)), "{seconds}");
    }
}

#[test]
fn no_setting_keeps_an_answer_longer_than_a_day() {
    let config = CacheConfig {
        default_timeout: Duration::from_secs(1_000_000),
        ..CacheConfig::default()
    };
    let day = Some(Duration::from_secs(86_400));
    assert_eq!(config.lifetime(200, Some("max-age = 90000")), day);
    assert_eq!(config.lifetime(200, None), day);
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_a_request_even_if_its_answer_is_not_kept() {
    let config = CacheConfig::default();
    for directive in ["max-age = 180", "no-cache"] {
        let (answers, service, go) = (
            Answers::<&str, _>::new(&config),
            Service::default(),
            Notify::new(),
        );
        let ask = || async {
            let answered = answers.find("key", holder, || async {
                go.notified().await;
                service.answer(&config, 200, directive).await
            });
            answered.await.map(|count| *count)
        };
        let open = async {
            tokio::task::yield_now().await;
            go.notify_one();
        };
        let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), open);
        assert_eq!((first, second, third), (Ok(1), Ok(1), Ok(1)), "{directive}");
    }
}

#[tokio::test]
async fn an_asker_who_gives_up_leaves_the_others_their_answer() {
    let config = CacheConfig::default();
    let answers: Arc<Answers<&str, usize>> = Arc::new(Answers::new(&config));
    let asker = tokio::spawn({
        let answers = answers.clone();
        async move { answers.find("key", holder, std::future::pending).await }
    });
    tokio::task::yield_now().await;
    let service = Service::default();
    let second = answers.find("key", holder, || service.answer(&config, 200, ""));
    let give_up = async {
        tokio::task::yield_now().await;
        asker.abort();
    };
    let (answer, ()) = tokio::join!(second, give_up);
    assert_eq!(answer, Ok(Arc::new(1)));
}

#[tokio::test]
async fn only_the_answers_that_meet_the_condition_are_forgotten() {
    let (config, service) = (CacheConfig::default(), Service::default());
    let answers = Answers::<&str, _>::new(&config);
    for key in ["a", "b", "c"] {
        answers
            .find(key, holder, || service.answer(&config, 200, ""))
            .await
            .unwrap();
    }
    let condition = |key: &&str, count: Option<&usize>| *key == "a" || count == Some(&2);
    answers.forget(condition);
    for (key, count) in [("a", 4), ("b", 5), ("c", 3)] {
        let answer = answers
            .find(key, holder, || service.answer(&config, 200, ""))
            .await;
        assert_eq!(answer, Ok(Arc::new(count)), "{key}");
    }
}

/// A change that is notified while a request is under way may have come too late for its answer.
#[tokio::test]
async fn an_answer_under_way_while_something_is_forgotten_is_not_kept() {
    let (config, service) = (CacheConfig::default(), Service::default());
    let answers = Answers::<&str, _>::new(&config);
    let first = answers.find("key", holder, || async {
        let answer = service.answer(&config, 200, "").await;
        answers.forget(|_, _| true);
        answer
    });
    assert_eq!(first.await, Ok(Arc::new(1)));
    let second = answers
        .find("key", holder, || service.answer(&config, 200, ""))
        .await;
    assert_eq!(second, Ok(Arc::new(2)));
}
